"""The latency identity of a module: what was measured once under it is never measured again.

Two trainings of one network have the same identity. So a constant counts by its type and shape, and its values
count only where they decide what is computed, which is the case of

- integers and booleans (shapes, indices, axes), except what a DequantizeLinear turns into a weight;
- floats that decide a shape or the work: sizes and scales of a Resize, limits of a Range, Clip, Min or Max, the
  exponent of a Pow, the value of a Pad, the thresholds of an NMS, and whatever these are calculated from.

Every other float constant, however small, is a weight: a bias, a norm's scale, the slope of a PReLU, the scale of a
Q/DQ pair. Neither its values matter, nor whether two of them are equal: exporters store equal ones once, so biases
that are all zero before training are one constant, and many after it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from bevlite.latency.onnx.graph import FLOAT_TYPES, load_model

DECISIVE: dict[str, tuple[int, ...]] = {
    "Resize": (1, 2, 3),
    "Upsample": (1,),
    "Range": (0, 1, 2),
    "Clip": (1, 2),
    "Min": (0, 1),
    "Max": (0, 1),
    "Pow": (1,),
    "Pad": (1, 2, 3),
    "NonMaxSuppression": (2, 3, 4),
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Slice": (1, 2, 3, 4),
    "ConstantOfShape": (0,),
    "TopK": (1,),
    "OneHot": (1,),
    "Unsqueeze": (1,),
    "Split": (1,),
}
"""Inputs by operator whose values decide a shape, the work, or which kernel does it."""
SHAPE_OPS = ("Shape", "Size")
"""They read the shape of what they are given, and never its values."""


def module_identity(model: onnx.ModelProto | Path | str, precision: str, device: str) -> str:
    """Hash of the graph, its weights replaced by type and shape (which those are: see the top of this file).

    `device` is the device's name together with every condition that latency depends on (power mode,
    TensorRT version). Node and tensor names do not count. Returns 16 hexadecimal digits.

    Raises:
        BevliteError: the file is missing or is not an ONNX model.
    """
    proto, _ = load_model(model)
    head: list[object] = [precision, device, sorted((o.domain, o.version) for o in proto.opset_import)]
    lines = head + _Writer({"": ""}, {}).lines(proto.graph)
    return hashlib.sha256(json.dumps(lines, separators=(",", ":")).encode()).hexdigest()[:16]


class _Writer:
    """Writes a graph without names: tensors are numbered as they appear, constants stand where they are read."""

    def __init__(self, renamed: dict[str, str], constants: dict[str, str]) -> None:
        self.renamed, self.constants = renamed, constants

    def lines(self, graph: onnx.GraphProto) -> list[object]:
        found: list[object] = []
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        tensors |= {node.output[0]: value for node in graph.node if (value := _constant(node)) is not None}
        decisive, weights = _decisive(graph.node, set(tensors)), _dequantized(graph.node)
        self.constants |= {
            name: _content(tensor, name in decisive, name in weights) for name, tensor in tensors.items()
        }
        for info in graph.input:
            if info.name not in tensors:
                kind = info.type.tensor_type
                dims = [d.dim_value or d.dim_param for d in kind.shape.dim]
                found.append(["input", self._name(info.name), kind.elem_type, dims])
        for node in graph.node:
            if node.op_type == "Identity" and node.input[0] in self.constants:
                # A constant under a second name: exporters write equal weights once, and name them so.
                self.constants[node.output[0]] = self.constants[node.input[0]]
                continue
            if _constant(node) is not None:
                continue
            attributes = sorted((a.name, self._attribute(a)) for a in node.attribute)
            inputs, outputs = [self._name(key) for key in node.input], [self._name(key) for key in node.output]
            found.append([node.domain, node.op_type, inputs, outputs, attributes])
        found.append(["output", [self._name(info.name) for info in graph.output]])
        return found

    def _name(self, key: str) -> str:
        return self.constants.get(key) or self.renamed.setdefault(key, f"t{len(self.renamed)}")

    def _attribute(self, attribute: onnx.AttributeProto) -> str:
        if attribute.type == onnx.AttributeProto.TENSOR:
            return _content(attribute.t, decisive=True, weight=False)
        if attribute.type == onnx.AttributeProto.GRAPH:  # a branch or a loop sees the tensors around it
            return json.dumps(_Writer(dict(self.renamed), dict(self.constants)).lines(attribute.g))
        return str(onnx.helper.get_attribute_value(attribute))


def _decisive(nodes: Sequence[onnx.NodeProto], constants: set[str]) -> set[str]:
    """The constants whose values decide something, and all constants that such a value is calculated from."""
    known = set(constants)  # what is known before any data come in
    for node in nodes:
        if node.op_type in SHAPE_OPS or all(name in known for name in node.input):
            known.update(node.output)
    found: set[str] = set()
    for node in reversed(nodes):  # in order of execution, so each reader comes before what it reads
        whole = any(name in found for name in node.output) and node.op_type not in SHAPE_OPS
        slots = range(len(node.input)) if whole else DECISIVE.get(node.op_type, ())
        found.update(node.input[slot] for slot in slots if slot < len(node.input) and node.input[slot] in known)
    return found


def _dequantized(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """What is turned into floats: stored integers, that are weights all the same."""
    return {node.input[0] for node in nodes if node.op_type == "DequantizeLinear"}


def _content(tensor: onnx.TensorProto, decisive: bool, weight: bool) -> str:
    head = f"{tensor.data_type}:{list(tensor.dims)}"
    kept = decisive or (tensor.data_type not in FLOAT_TYPES and not weight)
    if not kept or tensor.data_location == TensorProto.EXTERNAL:
        return head
    return f"{head}:{hashlib.sha256(numpy_helper.to_array(tensor).tobytes()).hexdigest()}"


def _constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node; None for other nodes, and for the forms that no exporter of weights writes."""
    if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
        return node.attribute[0].t
    return None
