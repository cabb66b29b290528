"""Operator check by TensorRT version."""
