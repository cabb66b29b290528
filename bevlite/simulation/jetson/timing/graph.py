"""An ONNX file as the emulated builder sees it: operators with shapes, constants folded, views looked through."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from bevlite.shape_inference import infer_shapes

SMALL = 1 << 16
VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast"})
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
MOVES = VIEWS | {"MaxPool", "Transpose", "Slice", "Split", "Gather", "Pad", "DepthToSpace", "SpaceToDepth"}
"""DequantizeLinear moves behind them: they pick and move values as they are."""
BYTES = {"FLOAT": 4, "FLOAT16": 2, "BFLOAT16": 2, "INT8": 1, "UINT8": 1, "INT32": 4, "INT64": 8, "BOOL": 1, "DOUBLE": 8}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the network. `dtype` is ONNX's name of it (`FLOAT16`)."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator. `inputs` are names as in the file; `inner` are the operators of its branches or its body."""

    index: int
    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    inner: tuple[Node, ...] = ()


@dataclass
class Graph:
    """The network.

    Attributes:
        constants: names of tensors known at build time (weights, folded shapes, weights behind Q/DQ).
        source: for the output of a view or of Q/DQ the tensor that it shows; other names map to themselves.
        dequantized: tensors that come out of a DequantizeLinear, weights too.
        values: small constants of the file.
    """

    nodes: list[Node]
    tensors: dict[str, Tensor]
    inputs: list[Tensor]
    outputs: list[Tensor]
    opset: int
    ir_version: int
    producer: tuple[str, str]
    constants: set[str] = field(default_factory=set)
    source: dict[str, str] = field(default_factory=dict)
    dequantized: set[str] = field(default_factory=set)
    values: dict[str, np.ndarray] = field(default_factory=dict)

    def resolve(self, name: str) -> str:
        """The tensor behind views and Q/DQ."""
        while (behind := self.source.get(name, name)) != name:
            name = behind
        return name

    def activations(self, node: Node) -> list[str]:
        """The resolved inputs that are not constants."""
        return [self.resolve(n) for n in node.inputs if n and n not in self.constants]

    def elements(self, name: str) -> int:
        """Elements of a tensor; 0 where its shape is not known."""
        return self.tensors[name].elements if name in self.tensors else 0

    @property
    def has_quantizers(self) -> bool:
        """Whether the network carries its own quantisation."""
        return any(node.op in QUANTIZERS for node in self.nodes)


def _tensor(info: onnx.ValueInfoProto, shapes: Mapping[str, tuple[int, ...]]) -> Tensor:
    kind = info.type.tensor_type
    given = shapes.get(info.name)
    shape = given or tuple(max(d.dim_value, 1) for d in kind.shape.dim)
    return Tensor(info.name, shape, onnx.TensorProto.DataType.Name(kind.elem_type))


def is_static(info: onnx.ValueInfoProto) -> bool:
    """Whether every dimension of an input is a number."""
    return all(d.HasField("dim_value") and d.dim_value > 0 for d in info.type.tensor_type.shape.dim)


def _fix_inputs(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    if not any(not is_static(i) for i in model.graph.input):
        return model
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for info in fixed.graph.input:
        for position, dim in enumerate(info.type.tensor_type.shape.dim):
            given = shapes.get(info.name)
            dim.dim_value = given[position] if given and position < len(given) else max(dim.dim_value, 1)
    return fixed


def read_graph(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> Graph:
    """Read a model; dynamic dimensions become those of `shapes`, or 1."""
    model = infer_shapes(_fix_inputs(model, shapes), data_prop=True)
    tensors = {i.name: _tensor(i, {}) for i in [*model.graph.value_info, *model.graph.input, *model.graph.output]}
    weights = {w.name for w in model.graph.initializer}
    for w in model.graph.initializer:
        tensors[w.name] = Tensor(w.name, tuple(w.dims), onnx.TensorProto.DataType.Name(w.data_type))
    nodes = [_node(index, node) for index, node in enumerate(model.graph.node)]
    graph = Graph(
        nodes=nodes,
        tensors=tensors,
        inputs=[tensors[i.name] for i in model.graph.input if i.name not in weights],
        outputs=[tensors[o.name] for o in model.graph.output],
        opset=next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0),
        ir_version=model.ir_version,
        producer=(model.producer_name, model.producer_version),
        constants=set(weights),
        values=_small_constants(model.graph),
    )
    _fold(graph)
    return graph


def _node(index: int, node: onnx.NodeProto) -> Node:
    bodies = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return Node(
        index=index,
        name=node.name or f"node_of_{node.output[0] if node.output else index}",
        op=node.op_type,
        domain=node.domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
        inner=tuple(found for body in bodies for part in body.node for found in _with_inner(_node(index, part))),
    )


def _with_inner(node: Node) -> tuple[Node, ...]:
    return (node, *node.inner)


def _small_constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """Constants that a parser looks into: scales, zero points, K, switches."""
    tensors = [(t.name, t) for t in graph.initializer]
    tensors += [
        (n.output[0], a.t) for n in graph.node if n.op_type == "Constant" for a in n.attribute if a.name == "value"
    ]
    return {
        name: onnx.numpy_helper.to_array(tensor)
        for name, tensor in tensors
        if math.prod(tensor.dims) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL
    }


def _fold(graph: Graph) -> None:
    """Find what is constant at build time and what only shows another tensor."""
    for node in graph.nodes:
        given = [n for n in node.inputs if n]
        if node.op in ("Constant", "Shape") or (given and all(n in graph.constants for n in given)):
            graph.constants.update(node.outputs)
        elif node.op in VIEWS | QUANTIZERS:
            graph.source[node.outputs[0]] = node.inputs[0]
        if node.op == "DequantizeLinear" or (node.op in MOVES and node.inputs[0] in graph.dequantized):
            graph.dequantized.update(node.outputs)
        for name in node.outputs:
            if name and name not in graph.tensors:  # shape inference gave up: as large as what came in
                shown = next((graph.tensors[n] for n in given if n in graph.tensors), None)
                if shown is not None:
                    graph.tensors[name] = Tensor(name, shown.shape, shown.dtype)
