"""What the rules of the operator check look at, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from bevlite.latency.onnx.folding import infer_shapes
from bevlite.latency.onnx.graph import strip_weights
from bevlite.shape_inference import NegativeSize

_READABLE = 1 << 16  # constants up to this size are read: scales, zero points, K


@dataclass(frozen=True)
class Problem:
    """One finding before it is tied to a version; `versions` empty means all."""

    severity: Literal["error", "silent_wrong", "warning"]
    reason: str
    remedy: str
    versions: tuple[str, ...] = ()
    node: str = ""

    def applies(self, key: str) -> bool:
        """Whether it holds for a column of the table."""
        return not self.versions or key in self.versions


@dataclass(frozen=True)
class Context:
    """What the rules look at: nodes, shapes where they are known, element types, readable constants.

    precision: what FP32 in the file runs in (see `operators.check_model`). fault: sizes that no tensor can have.
    """

    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, int]
    values: dict[str, np.ndarray[Any, Any]]
    constants: frozenset[str]
    producers: dict[str, onnx.NodeProto]
    consumers: dict[str, tuple[onnx.NodeProto, ...]]
    opset: int
    precision: str = "fp16"
    fault: str = ""


def build_context(model: onnx.ModelProto) -> Context:
    """Collect what the rules need; shapes that cannot be inferred are simply absent."""
    graph = model.graph
    values: dict[str, np.ndarray[Any, Any]] = {}
    constants = {t.name for t in graph.initializer}
    tensors = [(t.name, t) for t in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            constants.add(node.output[0])
            tensors += [(node.output[0], a.t) for a in node.attribute if a.name == "value"]
    for name, tensor in tensors:
        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= _READABLE:
            with suppress(ValueError):  # a file whose weights were taken out: shapes are enough for the other rules
                values[name] = numpy_helper.to_array(tensor)
    fault = ""
    try:
        inferred = infer_shapes(strip_weights(model))
    except NegativeSize as error:
        inferred, fault = model, str(error)
    except Exception:  # an invalid graph is for the parser to refuse; the other rules still hold
        inferred = model
    shapes = {name: tuple(tensor.dims) for name, tensor in tensors}
    types = {name: int(tensor.data_type) for name, tensor in tensors}
    for info in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output):
        kind = info.type.tensor_type
        types.setdefault(info.name, kind.elem_type)
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            shapes.setdefault(info.name, tuple(d.dim_value for d in kind.shape.dim))
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    initializers = {t.name for t in graph.initializer}
    return Context(
        nodes=tuple(graph.node),
        inputs=tuple(i for i in graph.input if i.name not in initializers),
        outputs=tuple(o.name for o in graph.output),
        shapes=shapes,
        types=types,
        values=values,
        constants=frozenset(constants),
        producers={name: node for node in graph.node for name in node.output},
        consumers={name: tuple(nodes) for name, nodes in consumers.items()},
        fault=fault,
        opset=next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0),
    )


def inner_contexts(context: Context) -> Iterator[tuple[str, Context]]:
    """Branches of If and bodies of Loop and Scan, with the node that they are in; those inside them as well.

    What a body takes from outside keeps its type, shape and value.
    """
    for node in context.nodes:
        for body in (a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH):
            own = build_context(_standing_alone(body, context))
            known = {name: value for name, value in context.values.items() if name not in own.producers}
            constants = own.constants | known.keys()
            inner = replace(own, values={**known, **own.values}, constants=constants, precision=context.precision)
            where = node.name or node.op_type
            yield where, inner
            for deeper, found in inner_contexts(inner):
                yield f"{where}, {deeper}", found


def _standing_alone(body: onnx.GraphProto, around: Context) -> onnx.ModelProto:
    """A body as a model: what it takes from outside becomes an input."""
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.add(version=around.opset)
    model.graph.CopyFrom(body)
    made = {name for node in body.node for name in node.output} | {t.name for t in body.initializer}
    made |= {info.name for info in body.input}
    for name in dict.fromkeys(name for node in body.node for name in node.input if name and name not in made):
        kind, shape = around.types.get(name, TensorProto.UNDEFINED), around.shapes.get(name)
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    return model


def attribute(node: onnx.NodeProto, key: str, default: Any) -> Any:
    """An attribute of a node, or the default."""
    for attribute in node.attribute:
        if attribute.name == key:
            value = onnx.helper.get_attribute_value(attribute)
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    return default
