"""TensorRT's Python API and CUDA's driver as a Python program of the emulated board meets them. No GPU, no TensorRT."""
