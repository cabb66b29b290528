"""ONNX graphs as the latency model reads them: shapes, folding, identity."""
