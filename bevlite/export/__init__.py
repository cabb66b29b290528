"""ONNX modules that stock TensorRT runs, checked per TensorRT version and against torch."""

from bevlite.callable_room import make_callable

make_callable(__name__)
