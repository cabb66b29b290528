"""Graphs whose weights are type and shape alone, given values: a compiler takes no others.

What the compiler says of a graph does not depend on them. Scales must be positive, so all are.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from bevlite.errors import BevliteError

_BLOCK = 4096
_FLOATS: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
}
_INTEGERS: dict[int, Any] = {
    TensorProto.INT8: np.int8, TensorProto.UINT8: np.uint8, TensorProto.INT32: np.int32, TensorProto.INT64: np.int64,
    TensorProto.INT16: np.int16, TensorProto.UINT16: np.uint16, TensorProto.BOOL: np.bool_,
}  # fmt: skip
_RAW_BYTES: dict[int, int] = {TensorProto.BFLOAT16: 2}


def is_complete(model: onnx.ModelProto) -> bool:
    """Whether every constant of a model has its values in it."""
    return all(_has_values(tensor) for tensor in _constants(model.graph))


def full_bytes(model: onnx.ModelProto) -> int:
    """Size of a model once every constant has values."""
    missing = [tensor for tensor in _constants(model.graph) if not _has_values(tensor)]
    return model.ByteSize() + sum(prod(tensor.dims) * _width(tensor.data_type) for tensor in missing)


def filled(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every constant has values: its own, or small positive ones (integers: 0).

    Raises:
        BevliteError: a constant of a type that values cannot be made for.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    block = np.random.default_rng(0).uniform(0.01, 0.02, _BLOCK)
    for tensor in _constants(copy.graph):
        if not _has_values(tensor):
            _fill(tensor, block)
    return copy


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initialisers and values of Constant nodes, inside branches and loops as well."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == onnx.AttributeProto.GRAPH:
                yield from _constants(attribute.g)


def _has_values(tensor: onnx.TensorProto) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    stored = (tensor.raw_data, tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
    return prod(tensor.dims) == 0 or any(map(len, (*stored, tensor.string_data, tensor.uint64_data)))


def _width(kind: int) -> int:
    """Bytes an element (4 where that is not known)."""
    known = {**_FLOATS, **_INTEGERS}
    return np.dtype(known[kind]).itemsize if kind in known else _RAW_BYTES.get(kind, 4)


def _fill(tensor: onnx.TensorProto, block: np.ndarray) -> None:
    shape, kind = tuple(tensor.dims), tensor.data_type
    if kind in _FLOATS:
        values = np.resize(block.astype(_FLOATS[kind]), shape)
    elif kind in _INTEGERS:
        values = np.zeros(shape, _INTEGERS[kind])
    elif kind in _RAW_BYTES:
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = bytes(prod(shape) * _RAW_BYTES[kind])
        return
    else:
        word = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
        raise BevliteError(f"constant '{tensor.name}': found {word} without values; accepted: a file with its weights")
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
