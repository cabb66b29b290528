"""What runs around the engines, as CUDA kernels: plans of launches for given shapes, each beside its numpy reference.

The kernels lie in `bevlite.agent.kernels`, which travels to the board. Numpy only, never torch.
"""
