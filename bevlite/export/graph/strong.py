"""FP32 ONNX to FP16 carried by the graph, as strongly typed TensorRT networks need it.

Every float tensor becomes FP16, except around operators that lose too much in it: those compute in FP32 between
casts. So do nodes that a precision plan keeps in FP32; what passes from one of these to another is never rounded.
Weights are rounded after batch norms were folded in FP32.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bevlite.errors import ExportError

FP32_ISLANDS = frozenset({"ReduceMean", "GlobalAveragePool", "Softmax", "LayerNormalization", "Softplus", "Exp", "Pow"})
"""Long sums and exponentials: FP16 overflows at 65504 and resolves 11 bits."""
FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that ONNX defines as float32 (scales and regions), whatever the data is."""
UNTYPED = frozenset({"Cast", "Constant", "ConstantOfShape", "Shape", "Reshape", "Transpose", "Resize", "Upsample"})
"""What computes nothing, or nothing that depends on the type: no island is made of it alone."""
MOVING = frozenset({"Reshape", "Transpose", "Resize", "Upsample"})
"""What hands values on: behind a node that a plan keeps in FP32 it stays in FP32 too."""
LARGEST = float(np.finfo(np.float16).max)


def to_half(
    model: onnx.ModelProto, fp32: frozenset[str] = frozenset(), hollow: frozenset[str] = frozenset()
) -> onnx.ModelProto:
    """The same graph in FP16.

    Args:
        model: the FP32 graph.
        fp32: names of nodes that stay in FP32.
        hollow: weights without values, which stand among the inputs.

    Raises:
        ExportError: a weight does not fit FP16.
    """
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    floats = _float_tensors(graph)
    kept = {
        node.input[i]
        for node in graph.node
        for i in FLOAT32_INPUTS.get(node.op_type, ())
        if i < len(node.input) and node.input[i]
    }
    planned = _planned(graph, fp32, floats)
    wide = _wide_weights(graph, planned, hollow)
    for initializer in graph.initializer:
        if initializer.data_type == TensorProto.FLOAT and initializer.name not in kept | wide:
            initializer.CopyFrom(_half_tensor(initializer))
    nodes = []
    exact: set[str] = set()
    for node in graph.node:
        if node.op_type in FP32_ISLANDS or node.name in planned:
            known = exact if node.name in planned else set()
            exact |= set(node.output) & floats if node.name in planned else set()
            nodes += _island(node, floats - wide - kept, known)
        else:
            _half_attributes(node, kept)
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(_without_unread(nodes, exact, graph))
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in wide:
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def _planned(graph: onnx.GraphProto, fp32: frozenset[str], floats: set[str]) -> set[str]:
    """Names of the nodes that compute in FP32 because a plan says so, and of what only moves their results."""
    found: set[str] = set()
    exact: set[str] = set()
    for node in graph.node:
        if node.name not in fp32:
            continue
        moves = node.op_type in MOVING and node.input[0] in exact
        enters = node.op_type == "Cast" and node.output[0] in floats and node.input[0] not in floats
        if node.op_type not in UNTYPED or moves or enters:
            found.add(node.name)
            exact |= set(node.output) & floats
    return found


def _wide_weights(graph: onnx.GraphProto, planned: set[str], hollow: frozenset[str]) -> set[str]:
    """Weights that only nodes of the plan read: they keep their digits."""
    readers: dict[str, set[bool]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name in planned)
    weights = hollow | {tensor.name for tensor in graph.initializer}
    return {name for name in weights if readers.get(name) == {True}} if planned else set()


def _without_unread(nodes: list[onnx.NodeProto], exact: set[str], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Without the casts to FP16 of results that only nodes in FP32 read."""
    read = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
    return [n for n in nodes if not (n.op_type == "Cast" and n.output[0] in exact and n.output[0] not in read)]


def _float_tensors(graph: onnx.GraphProto) -> set[str]:
    values = (*graph.input, *graph.output, *graph.value_info)
    names = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}


def _half_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    if values.size and np.abs(values).max() > LARGEST:
        raise ExportError(f"{tensor.name}: holds {np.abs(values).max():g}, beyond the FP16 range of {LARGEST:g}")
    return numpy_helper.from_array(values.astype(np.float16), tensor.name)


def _half_attributes(node: onnx.NodeProto, kept: set[str]) -> None:
    """Constants and casts to FP32 inside the graph follow, unless an input must stay float32."""
    if any(name in kept for name in node.output):
        return
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half_tensor(attribute.t))


def _island(node: onnx.NodeProto, floats: set[str], exact: set[str]) -> list[onnx.NodeProto]:
    """Cast to FP32, compute, cast back. What is `exact` is at hand in FP32."""
    before, after = [], []
    for i, name in enumerate(node.input):
        if name in exact:
            node.input[i] = f"{name}__fp32"
        elif name in floats:
            wide = f"{name}__{node.output[0]}_fp32"
            before.append(helper.make_node("Cast", [name], [wide], name=f"{wide}_cast", to=TensorProto.FLOAT))
            node.input[i] = wide
    for i, name in enumerate(node.output):
        if name in floats:
            wide = f"{name}__fp32"
            after.append(helper.make_node("Cast", [wide], [name], name=f"{name}_cast", to=TensorProto.FLOAT16))
            node.output[i] = wide
    return [*before, node, *after]
