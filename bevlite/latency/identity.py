"""The latency identity of a module: what was measured once under it is never measured again."""

from __future__ import annotations

import hashlib
import json
from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from bevlite.latency.graph import FLOAT_TYPES, load_model

SMALL_FLOATS = 16
"""Float constants up to this size keep their values: scales of a Resize change the work, weights do not."""


def module_identity(model: onnx.ModelProto | Path | str, precision: str, device: str) -> str:
    """Hash of the graph with large float weights replaced by type and shape; integer constants are kept.

    `device` is the device's name together with every condition that latency depends on (power mode,
    TensorRT version). Node and tensor names do not count. Returns 16 hexadecimal digits.

    Raises:
        BevliteError: the file is missing or is not an ONNX model.
    """
    proto, _ = load_model(model)
    renamed: dict[str, str] = {"": ""}
    lines: list[object] = [precision, device, sorted((o.domain, o.version) for o in proto.opset_import)]

    def name(key: str) -> str:
        return renamed.setdefault(key, f"t{len(renamed)}")

    weights = {tensor.name for tensor in proto.graph.initializer}
    for info in proto.graph.input:
        if info.name not in weights:
            kind = info.type.tensor_type
            dims = [d.dim_value or d.dim_param for d in kind.shape.dim]
            lines.append(["input", name(info.name), kind.elem_type, dims])
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        # An initialiser counts where it is first used: the order in which a file lists them is no matter.
        for key in node.input:
            if key in constants and key not in renamed:
                lines.append(["constant", name(key), _content(constants[key])])
        attributes = sorted((a.name, _attribute(a)) for a in node.attribute)
        inputs, outputs = [name(key) for key in node.input], [name(key) for key in node.output]
        lines.append([node.domain, node.op_type, inputs, outputs, attributes])
    lines.append(["output", [name(info.name) for info in proto.graph.output]])
    return hashlib.sha256(json.dumps(lines, separators=(",", ":")).encode()).hexdigest()[:16]


def _content(tensor: onnx.TensorProto) -> str:
    head = f"{tensor.data_type}:{list(tensor.dims)}"
    external = tensor.data_location == TensorProto.EXTERNAL
    if external or (tensor.data_type in FLOAT_TYPES and prod(tensor.dims) > SMALL_FLOATS):
        return head
    values = numpy_helper.to_array(tensor)
    return f"{head}:{hashlib.sha256(values.tobytes()).hexdigest()}"


def _attribute(attribute: onnx.AttributeProto) -> str:
    if attribute.type == onnx.AttributeProto.TENSOR:
        return _content(attribute.t)
    if attribute.type == onnx.AttributeProto.GRAPH:
        return hashlib.sha256(attribute.g.SerializeToString(deterministic=True)).hexdigest()
    return str(onnx.helper.get_attribute_value(attribute))
