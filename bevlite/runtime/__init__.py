"""What runs around the engines on the board: pillars, pooling tables, decoding. Numpy only, never torch.

Each is the reference that a CUDA kernel on the board has to match, and what torch, ONNX Runtime and engines share.
"""
