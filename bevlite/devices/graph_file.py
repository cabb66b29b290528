"""What a device must know of an ONNX file before it builds it: inputs, precision carried, quantised layers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from bevlite.devices.contract import Inputs
from bevlite.devices.external_weights import has_external_weights, with_weights
from bevlite.devices.state import Kind
from bevlite.errors import ExportError
from bevlite.latency.onnx.graph import LARGEST_TENSOR, load_model
from bevlite.latency.onnx.shapes import example_setting

NUMBERS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE, TensorProto.BOOL,
     TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
     TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64}
)  # fmt: skip
"""Element types that arrays have."""
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class GraphFile:
    """An ONNX file. `inputs` and `outputs` are type and shape by name; `quantized` counts products between Q/DQ.

    `content` is what travels, and `sha256` its hash: the file, or its bytes with the weights that lay in other files.
    """

    path: Path
    content: Path | bytes
    sha256: str
    inputs: dict[str, Kind]
    outputs: dict[str, Kind]
    strongly_typed: bool
    quantized: int

    @classmethod
    def read(cls, path: Path) -> GraphFile:
        """Read a file.

        Raises:
            BevliteError: it is missing, no ONNX, has dynamic inputs, or its weights in other files are not there or
                more than one ONNX file holds.
        """
        model, _ = load_model(path)
        content: Path | bytes = with_weights(path) if has_external_weights(model) else path
        weights = {tensor.name for tensor in model.graph.initializer}
        inputs = {}
        for value in model.graph.input:
            if value.name in weights:
                continue
            inputs[value.name] = _kind(value, path, "input")
            shape = inputs[value.name][1]
            if not all(size > 0 for size in shape):
                raise ExportError(
                    f"{path}: input '{value.name}' has no static shape ({list(shape)}); accepted: static shapes, for "
                    f"example with {example_setting(value)}"
                )
            if prod(shape) > LARGEST_TENSOR:
                raise ExportError(
                    f"{path}: input '{value.name}' has {prod(shape):,} elements; accepted: at most 2^31 - 1"
                )
        outputs = {value.name: _kind(value, path, "output") for value in model.graph.output}
        return cls(path, content, _sha256(content), inputs, outputs, _carries_half(model), _quantized(model))

    def complete(self, given: Inputs) -> tuple[dict[str, np.ndarray], list[str]]:
        """All inputs of the engine in their type, and the names of those that had to be made up.

        Made up are normal numbers for real inputs and zeros for integers: an index must be a valid one, and 0 is.

        Raises:
            BevliteError: a given tensor is unknown or has another shape.
        """
        unknown = sorted(set(given) - set(self.inputs))
        if unknown:
            raise ExportError(f"{self.path}: inputs: found '{unknown[0]}'; accepted: {', '.join(self.inputs)}")
        found, made_up = {}, []
        source = np.random.default_rng(0)
        for name, (kind, shape) in self.inputs.items():
            if name in given:
                if tuple(given[name].shape) != shape:
                    raise ExportError(f"{self.path}: input '{name}': found {given[name].shape}; accepted: {shape}")
                found[name] = np.ascontiguousarray(given[name].astype(kind, copy=False))
                continue
            made_up.append(name)
            if np.issubdtype(kind, np.floating):
                found[name] = source.standard_normal(prod(shape), dtype=np.float32).reshape(shape).astype(kind)
            elif kind == np.uint8:
                found[name] = source.integers(0, 256, shape, dtype=np.uint8)
            else:
                found[name] = np.zeros(shape, kind)
        return found, made_up


def _kind(value: onnx.ValueInfoProto, path: Path, what: str) -> Kind:
    """Type and shape; 0 where the file does not say a size."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or kind.elem_type not in NUMBERS:
        known = kind.elem_type in TensorProto.DataType.values()
        word = TensorProto.DataType.Name(kind.elem_type) if known else f"type {kind.elem_type}"
        found = word if value.type.HasField("tensor_type") else "no tensor"
        raise ExportError(f"{path}: {what} '{value.name}': found {found}; accepted: a tensor of numbers")
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)), tuple(d.dim_value for d in kind.shape.dim)


def _sha256(content: Path | bytes) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    digest = hashlib.sha256()
    with content.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _carries_half(model: onnx.ModelProto) -> bool:
    half = TensorProto.FLOAT16
    values = (*model.graph.input, *model.graph.output)
    return any(t.data_type == half for t in model.graph.initializer) or any(
        v.type.tensor_type.elem_type == half for v in values
    )


def _quantized(model: onnx.ModelProto) -> int:
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    return sum(
        node.op_type in _PRODUCTS and any(name in dequantized for name in node.input[:1]) for node in model.graph.node
    )
