"""Programs of a board that use TensorRT's Python API, each in a process of its own."""
