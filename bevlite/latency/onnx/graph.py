"""An ONNX file as typed nodes with static shapes: what the latency model reads, and nothing more.

Weights are not needed: an initialiser counts by its type and shape, so files whose external data is absent
work too. Small integer constants are kept, because shapes (Reshape, Slice, TopK, ...) are made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, numpy_helper

from bevlite import shape_inference
from bevlite.errors import BevliteError
from bevlite.latency.onnx.control_flow import inlined, inside_of, repeats_of
from bevlite.latency.onnx.folding import infer_shapes
from bevlite.latency.onnx.shapes import example_setting
from bevlite.latency.onnx.spelled_out import spelled_out
from bevlite.latency.onnx.valid import faults, has_text

MAX_KEPT_ELEMENTS = 4096
"""Integer constants up to this size keep their values; no shape or index list of a network is longer."""

PROTOBUF_LIMIT = 2**31 - 1
"""Bytes that one ONNX file holds."""
LARGEST_TENSOR = 2**31 - 1
"""Elements of a tensor that TensorRT takes."""
FLOAT_TYPES = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
_INTEGER_TYPES = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8}
_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.DOUBLE: 8,
    TensorProto.INT64: 8,
    TensorProto.INT32: 4,
    TensorProto.INT16: 2,
    TensorProto.UINT16: 2,
}
_DATA_DEPENDENT = ("NonZero", "NonMaxSuppression", "Unique", "Compress")


@dataclass(frozen=True)
class Tensor:
    """One tensor: static shape, ONNX element type, and whether it is a constant of the graph."""

    name: str
    shape: tuple[int, ...]
    elem_type: int
    constant: bool = False

    @property
    def numel(self) -> int:
        """Number of elements (1 for a scalar)."""
        return prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the builder may choose its precision (the float types)."""
        return self.elem_type in FLOAT_TYPES

    def stored_bytes(self) -> int:
        """Bytes in the type that the file declares."""
        return self.numel * _BYTES.get(self.elem_type, 1)


@dataclass(frozen=True)
class Node:
    """One operator with resolved attributes; missing optional inputs are the empty string, as in ONNX."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    repeats: int = 1
    """How often it runs in one frame: more than once in the body of a loop."""
    inside: str = ""
    """What it was taken out of: a branch, or the body of a loop."""

    def attribute(self, key: str, default: Any) -> Any:
        """The attribute's value, or the default that ONNX gives it."""
        return self.attributes.get(key, default)


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, every tensor with its shape, and the small integer constants."""

    name: str
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    integers: Mapping[str, tuple[int, ...]]
    opset: int
    consumers: Mapping[str, tuple[int, ...]] = field(repr=False)
    scalars: Mapping[str, float] = field(default_factory=dict)
    """Constants of one float whose value is known: scales of Q/DQ nodes are among them."""

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name (raises BevliteError when its shape could not be found)."""
        try:
            return self.tensors[name]
        except KeyError:
            raise BevliteError(
                f"{self.name}: tensor '{name}' has no static shape; accepted: graphs whose every shape "
                "follows from the inputs (simplify the file, e.g. with onnxslim)"
            ) from None


def load_model(source: onnx.ModelProto | Path | str) -> tuple[onnx.ModelProto, str]:
    """Read an ONNX file without its external weights; returns the model and a name for messages.

    Functions that the file defines itself are written out, as TensorRT does. The graph of a file is named after
    it, so that whatever is said of the model later names the file.

    Raises:
        BevliteError: the file is missing, or is not an ONNX model.
    """
    if isinstance(source, onnx.ModelProto):
        return source, source.graph.name or "model"
    path = Path(source)
    if not path.is_file():
        raise BevliteError(f"{path}: no such file; accepted: the path of an ONNX file")
    size = path.stat().st_size
    if size > PROTOBUF_LIMIT:
        raise BevliteError(
            f"{path}: found {size / 1e9:.1f} GB in one file, and an ONNX file holds at most 2 GB; accepted: weights in "
            "files beside it (onnx.save with save_as_external_data=True)"
        )
    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except (DecodeError, ValueError, TypeError, RuntimeError) as error:
        line = " ".join(str(error).split())[:120]
        raise BevliteError(f"{path}: not a readable ONNX file ({line}); accepted: an ONNX model") from None
    if not model.graph.node and not model.graph.output:
        raise BevliteError(f"{path}: not an ONNX model (no graph inside); accepted: an ONNX model")
    if not has_text(model.graph):
        raise BevliteError(f"{path}: has names that are no text (UTF-8); accepted: an ONNX model")
    if model.functions:
        model = _inlined(model, str(path))
    model.graph.name = str(path)
    return model, str(path)


def _inlined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    try:
        return onnx.inliner.inline_local_functions(model)
    except Exception as error:  # of several C++ types; all of them mean that the functions cannot be resolved
        line = " ".join(str(error).split())[:120]
        raise BevliteError(f"{name}: its local functions cannot be read ({line}); accepted: an ONNX model") from None


def strip_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the values of large constants removed: quick to infer shapes on, whatever the size."""
    slim = onnx.ModelProto(ir_version=max(model.ir_version, 8), producer_name=model.producer_name)
    slim.opset_import.extend(model.opset_import)
    slim.functions.extend(model.functions)
    graph = slim.graph
    graph.name = model.graph.name
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    for tensor in model.graph.initializer:
        graph.initializer.append(_without_values(tensor))
    for node in model.graph.node:
        value = _constant_tensor(node)
        if value is None:
            graph.node.append(node)
        else:  # a Constant becomes an initialiser of the same name
            graph.initializer.append(_without_values(value))
            graph.initializer[-1].name = node.output[0]
    return slim


def read_graph(source: onnx.ModelProto | Path | str) -> Graph:
    """Turn an ONNX file into typed nodes with static shapes.

    Of a branch the dearer side stands in its place, the body of a loop once, with how often it runs; operators that the
    standard defines by others are spelled out.

    Raises:
        BevliteError: missing or corrupt file, no nodes, nodes in a circle, a dynamic input (named with its dimension),
            a data-dependent shape or trip count, a tensor whose shape cannot be inferred or that no board can hold.
    """
    model, name = load_model(source)
    if not model.graph.node:
        raise BevliteError(f"{name}: has no nodes; accepted: a network")
    fault = next(faults(model), None)
    if fault is not None:
        raise BevliteError(f"{name}: '{fault[0]}' {fault[1]}; accepted: a valid ONNX graph")
    slim = strip_weights(model)
    constants = {t.name for t in slim.graph.initializer}
    _require_static_inputs(slim.graph, constants, name)
    _sort(slim.graph, name)
    written = spelled_out(inlined(slim, name), name)
    slim = written if written is slim else strip_weights(written)
    try:
        slim = infer_shapes(slim)
    except Exception as error:  # onnx raises several C++ error types; all of them mean an invalid graph
        line = " ".join(str(error).split())[:160]
        raise BevliteError(f"{name}: shape inference failed ({line}); accepted: a valid ONNX graph") from None
    _require_shapes(slim, name)
    graph = _typed(slim, name)
    for tensor in graph.tensors.values():
        if tensor.numel > LARGEST_TENSOR and not tensor.constant:
            size = f"{tensor.numel:,} elements ({' x '.join(map(str, tensor.shape))})"
            raise BevliteError(f"{name}: tensor '{tensor.name[:80]}' has {size}; accepted: at most 2^31 - 1")
    return graph


def _sort(graph: onnx.GraphProto, name: str) -> None:
    """Put the nodes into an order in which each reads what is there, as parsers do."""
    made: dict[str, int] = {}
    for position, node in enumerate(graph.node):
        made |= dict.fromkeys(filter(None, node.output), position)
    before = {i: {made[source] for source in node.input if source in made} for i, node in enumerate(graph.node)}
    if all(source < position for position, sources in before.items() for source in sources):
        return
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        names = [(graph.node[i].name or graph.node[i].op_type)[:40] for i in error.args[1][:3]]
        raise BevliteError(
            f"{name}: its nodes form a circle ({' after '.join(names)}); accepted: nodes that follow each other"
        ) from None
    nodes = [graph.node[position] for position in order]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)


def _require_shapes(model: onnx.ModelProto, name: str) -> None:
    """Every output of every node has a static shape, or one line says of the first that has none, and why."""
    known = {info.name for info in (*model.graph.value_info, *model.graph.output) if _static_shape(info) is not None}
    known.update(tensor.name for tensor in model.graph.initializer)
    for position, proto in enumerate(model.graph.node):
        missing = next((key for key in proto.output if key and key not in known), None)
        if missing is not None:
            raise BevliteError(f"{name}: {_no_shape(_node(proto, position), missing, model)}")


def _typed(model: onnx.ModelProto, name: str) -> Graph:
    constants = {t.name for t in model.graph.initializer}
    tensors: dict[str, Tensor] = {}
    integers: dict[str, tuple[int, ...]] = {}
    scalars: dict[str, float] = {}
    for tensor in model.graph.initializer:
        tensors[tensor.name] = Tensor(tensor.name, tuple(tensor.dims), tensor.data_type, constant=True)
        _keep_integers(tensor, tensor.name, integers)
        if tensor.data_type in FLOAT_TYPES and prod(tensor.dims) == 1 and _has_floats(tensor):
            scalars[tensor.name] = float(numpy_helper.to_array(tensor).reshape(-1)[0])
    for info in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        if info.name not in tensors:
            shape = _static_shape(info)
            if shape is not None:
                tensors[info.name] = Tensor(info.name, shape, info.type.tensor_type.elem_type)
    nodes: list[Node] = []
    consumers: dict[str, list[int]] = {}
    for position, proto in enumerate(model.graph.node):
        node = _node(proto, position)
        for key in node.inputs:
            consumers.setdefault(key, []).append(len(nodes))
        nodes.append(node)
    return Graph(
        name=name,
        nodes=tuple(nodes),
        tensors=tensors,
        inputs=tuple(i.name for i in model.graph.input if i.name not in constants),
        outputs=tuple(o.name for o in model.graph.output),
        integers=integers,
        opset=next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0),
        consumers={key: tuple(value) for key, value in consumers.items()},
        scalars=scalars,
    )


def _no_shape(node: Node, tensor: str, model: onnx.ModelProto) -> str:
    if node.op in _DATA_DEPENDENT:
        return (
            f"node '{node.name[:80]}' ({node.op}) has an output whose shape depends on the data; accepted: static "
            "shapes (TopK, or decode outside the network)"
        )
    where = f"tensor '{tensor[:80]}' of node '{node.name[:80]}' ({node.op})"
    if node.domain:
        return (
            f"{where} has no static shape: '{node.domain}' is no part of ONNX; accepted: unknown operators whose "
            "output shapes are stored in the file (value_info)"
        )
    try:
        shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # of several C++ types: what ONNX itself has against the sizes
        line = " ".join(str(error).split())
        reason = line.rpartition("[ShapeInferenceError] ")[2][:160] or line[:160]
        return f"{where} has no shape: {reason}; accepted: sizes that fit together"
    return (
        f"{where} has no static shape; accepted: graphs whose every shape follows from the inputs (simplify the "
        "file, e.g. with onnxslim)"
    )


def _node(proto: onnx.NodeProto, position: int) -> Node:
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        if attribute.type not in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.TENSOR):
            value = onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    name = proto.name or f"{proto.op_type}_{position}"
    inputs, outputs = tuple(proto.input), tuple(proto.output)
    return Node(name, proto.op_type, domain, inputs, outputs, attributes, repeats_of(proto), inside_of(proto))


def _require_static_inputs(graph: onnx.GraphProto, constants: set[str], name: str) -> None:
    for value in graph.input:
        if value.name in constants or not value.type.HasField("tensor_type"):
            continue
        if not value.type.tensor_type.HasField("shape"):
            raise BevliteError(
                f"{name}: input '{value.name}' has no shape; accepted: static shapes, for example with "
                f"--shape {value.name}=1x3x224x224"
            )
        for index, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_value <= 0:
                label = f" ('{dimension.dim_param}')" if dimension.dim_param else ""
                raise BevliteError(
                    f"{name}: input '{value.name}' dimension {index}{label} is dynamic; accepted: "
                    f"static shapes, for example with {example_setting(value)}"
                )


def _static_shape(info: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type") or not kind.HasField("shape"):
        return None
    if any(not d.HasField("dim_value") or d.dim_value < 0 for d in kind.shape.dim):
        return None
    return tuple(d.dim_value for d in kind.shape.dim)


def _constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The value of a Constant node (any of its attribute forms), or None for other nodes."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or not node.attribute:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        return attribute.t
    value = onnx.helper.get_attribute_value(attribute)
    integer = attribute.name in ("value_int", "value_ints")
    if not integer and attribute.name not in ("value_float", "value_floats"):
        return None
    values = list(value) if attribute.name.endswith("s") else [value]
    dims = [len(values)] if attribute.name.endswith("s") else []
    kind = TensorProto.INT64 if integer else TensorProto.FLOAT
    return onnx.helper.make_tensor(node.output[0], kind, dims, values)


def _keeps_values(tensor: onnx.TensorProto) -> bool:
    if tensor.data_location == TensorProto.EXTERNAL:
        return False
    limit = MAX_KEPT_ELEMENTS if tensor.data_type in _INTEGER_TYPES else 16  # 16: scales of a Resize
    return prod(tensor.dims) <= limit


def _without_values(tensor: onnx.TensorProto) -> onnx.TensorProto:
    if _keeps_values(tensor):
        return tensor
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)


def _has_floats(tensor: onnx.TensorProto) -> bool:
    """Whether the values are there: weights of stripped files have none."""
    stored = tensor.raw_data or tensor.float_data or tensor.int32_data or tensor.double_data
    return bool(stored) and tensor.data_location != TensorProto.EXTERNAL


def _keep_integers(tensor: onnx.TensorProto, name: str, into: dict[str, tuple[int, ...]]) -> None:
    stored = tensor.raw_data or tensor.int64_data or tensor.int32_data  # none where they lie in another file
    if tensor.data_type in (TensorProto.INT64, TensorProto.INT32) and stored and _keeps_values(tensor):
        into[name] = tuple(int(v) for v in numpy_helper.to_array(tensor).reshape(-1))
