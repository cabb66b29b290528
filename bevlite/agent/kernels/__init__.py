"""CUDA kernels of what runs around the engines: one `.cu` file a step, compiled on the board, launched by plans.

Sources and launches travel with the agent and need the standard library alone; what makes the plans and holds the numpy
references is `bevlite.kernels`.
"""
