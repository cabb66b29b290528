"""NVIDIA's own ONNX parser and graph compiler (TensorRT for RTX), on a CPU: an ONNX file in, a `BuiltGraph` out.

It is a witness: it refuses and counts, and never says how long anything takes. It is of the generation of TensorRT
11, strongly typed, without plugins and DLA; what it takes says nothing of TensorRT 8.
"""
