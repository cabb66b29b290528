"""Graphs whose weights are type and shape alone, given values: a compiler takes no others.

What the compiler says of a graph does not depend on them. Scales must be positive, so all are.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

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


def full_bytes(model: onnx.ModelProto) -> int:
    """Size of a model once every constant has values, those in other files as well."""
    missing = [tensor for tensor in _constants(model.graph) if not _has_values(tensor)]
    return model.ByteSize() + sum(prod(tensor.dims) * _width(tensor.data_type) for tensor in missing)


def filled(model: onnx.ModelProto, folder: Path | None = None) -> onnx.ModelProto:
    """A copy in which every constant has values: its own, or small positive ones (integers: 0).

    Args:
        model: constants may be type and shape alone, or lie in other files.
        folder: of those files.

    Raises:
        BevliteError: a constant of a type that values cannot be made for, or whose file cannot be read.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    block = np.random.default_rng(0).uniform(0.01, 0.02, _BLOCK)
    for tensor in _constants(copy.graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            _load(tensor, folder)
        elif not _has_values(tensor):
            _fill(tensor, block)
    return copy


def _load(tensor: onnx.TensorProto, folder: Path | None) -> None:
    """The values of a constant that lie in another file: what they are may decide what a compiler says."""
    where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    try:
        if folder is None:
            raise ValueError("its folder is not known")
        load_external_data_for_tensor(tensor, str(folder))
    except Exception as error:  # of several types, by what is wrong with the file or its place
        line = " ".join(str(error).split())[:120]
        raise BevliteError(
            f"constant '{tensor.name}': its values in '{where}' cannot be read ({line}); accepted: that file beside it"
        ) from None
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


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
        tensor.raw_data = bytes(prod(shape) * _RAW_BYTES[kind])
        return
    else:
        word = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
        raise BevliteError(f"constant '{tensor.name}': found {word} without values; accepted: a file with its weights")
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
