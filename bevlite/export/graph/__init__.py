"""From a network to ONNX graphs, with weights or from shapes alone."""
