"""A variant's network behind one call, whatever it runs on: torch, ONNX Runtime, engines of a board."""
