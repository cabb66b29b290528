"""Devices in this machine: a GPU through torch, ONNX Runtime."""
