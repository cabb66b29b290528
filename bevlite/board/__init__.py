"""What a package runs on the board: the network behind one call, the check, the benchmark, the monitor.

Python 3.8 with numpy, TensorRT's Python API and CUDA by ctypes; nothing of torch, nothing installed. It stands on
`bevlite.agent` (engines, conditions, power) and `bevlite.runtime` (what runs around the engines), which travel with it.
"""
