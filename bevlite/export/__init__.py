"""ONNX modules that stock TensorRT runs, checked per TensorRT version and against torch."""
