"""An emulated Jetson: an OpenSSH server on loopback with tools that answer as NVIDIA's do. Nothing is measured."""
