"""Branches and loops written out, so that what is inside them is priced like everything else.

Of an If the dearer branch stands in its place. The body of a Loop or Scan stands there once, and its nodes say how
often they run (`repeats_of`). A loop that runs until the data stop it has no known time, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from bevlite.errors import BevliteError
from bevlite.latency.onnx.folding import infer_shapes, known_shapes

OPERATORS = frozenset({"If", "Loop", "Scan"})
REPEATS, INSIDE = "bevlite.repeats", "bevlite.inside"
"""Metadata of a node: how often it runs, and what it was taken out of."""
FLOPS_A_BYTE = 200.0
"""Operations that a board does in the time of moving one byte (an Orin in FP16, about): weighs branches."""
MOST_TRIPS = 10_000_000
MOST_NODES = 100_000
"""Nodes that a file may have when its branches and bodies are written out."""


@dataclass(frozen=True)
class _Known:
    """Types, shapes and small integer values of a graph by tensor."""

    types: dict[str, onnx.TypeProto]
    shapes: dict[str, tuple[int, ...]]
    values: dict[str, int]


def inlined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The same network without If, Loop and Scan; the model itself where it has none.

    Args:
        model: without the values of large weights.
        name: for messages.

    Raises:
        BevliteError: a loop whose trip count is not known from the file, bodies nested too deeply, or one that does not
            fit its node.
    """
    for _ in range(32):  # each round writes out one level
        if not any(node.op_type in OPERATORS and node.domain in ("", "ai.onnx") for node in model.graph.node):
            return model
        model = _one_level(model, name)
        if len(model.graph.node) > MOST_NODES:
            raise BevliteError(f"{name}: over {MOST_NODES:,} nodes with its branches and loops; accepted: fewer")
    raise BevliteError(f"{name}: branches and loops nested over 32 deep; accepted: fewer")


def repeats_of(node: onnx.NodeProto) -> int:
    """How often a node runs in one frame."""
    return next((int(entry.value) for entry in node.metadata_props if entry.key == REPEATS), 1)


def inside_of(node: onnx.NodeProto) -> str:
    """What a node was taken out of, such as `a branch of 'if'`; empty for most."""
    return next((entry.value for entry in node.metadata_props if entry.key == INSIDE), "")


def _one_level(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    known = _know(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    del graph.node[:]
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    for position, node in enumerate(model.graph.node):
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            graph.node.append(node)
            continue
        label = (node.name or f"{node.op_type}_{position}")[:80]
        try:
            writer = _Writer(graph, node, label, known, opset)
            {"If": writer.branch, "Loop": writer.loop, "Scan": writer.scan}[node.op_type]()
        except (IndexError, KeyError, StopIteration, ValueError) as error:
            line = " ".join(str(error).split())[:120] or type(error).__name__
            raise BevliteError(
                f"{name}: node '{label}' ({node.op_type}) does not fit its body ({line}); accepted: a valid ONNX graph"
            ) from None
        except _NoTripCountError:
            raise BevliteError(
                f"{name}: how often node '{label}' ({node.op_type}) runs its body depends on the data; accepted: a "
                "constant trip count, or a loop that is unrolled when exporting"
            ) from None
    # What was inferred of tensors whose makers are new is inferred anew.
    del graph.value_info[:]
    made = {output for node in graph.node for output in node.output}
    graph.value_info.extend(info for info in model.graph.value_info if info.name in made)
    return result


class _NoTripCountError(Exception):
    """Nothing says how often a body runs."""


def _know(model: onnx.ModelProto) -> _Known:
    """What is known of the tensors around the bodies."""
    try:
        inferred = infer_shapes(model)
    except Exception:  # an invalid graph is told by whoever reads the result
        inferred = model
    types = {i.name: i.type for i in (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)}
    values: dict[str, int] = {}
    for tensor in inferred.graph.initializer:
        types.setdefault(tensor.name, helper.make_tensor_type_proto(tensor.data_type, tuple(tensor.dims)))
        stored = tensor.raw_data or tensor.int64_data or tensor.int32_data
        whole = tensor.data_type in (TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL)
        if whole and prod(tensor.dims) == 1 and stored and tensor.data_location != TensorProto.EXTERNAL:
            values[tensor.name] = int(numpy_helper.to_array(tensor).reshape(-1)[0])
    return _Known(types, known_shapes(inferred), values)


class _Writer:
    """Writes the body of one node into the graph around it."""

    def __init__(self, graph: onnx.GraphProto, node: onnx.NodeProto, label: str, known: _Known, opset: int) -> None:
        self._graph, self._node, self._label, self._known, self._opset = graph, node, label, known, opset
        self._stacked: list[tuple[str, str]] = []
        self._behind: list[tuple[str, list[str], list[str], dict[str, Any]]] = []

    def branch(self) -> None:
        """An If: the branch that its constant condition takes, else the dearer one."""
        branches = [self._body("then_branch"), self._body("else_branch")]
        condition = self._known.values.get(self._node.input[0])
        if condition is None:
            chosen = max(branches, key=self._work)
            inside = f"the dearer branch of '{self._label}' is priced"
        else:
            chosen, inside = branches[0 if condition else 1], ""
        outputs = [info.name for info in chosen.output]
        self._insert(chosen, {}, dict(zip(outputs, self._node.output, strict=True)), 1, inside)

    def loop(self) -> None:
        """A Loop with a known limit of trips, all of which count."""
        body = self._body("body")
        limit = self._node.input[0] if self._node.input else ""
        trips = self._known.values.get(limit)
        if trips is None:
            raise _NoTripCountError
        trips = min(max(trips, 0), MOST_TRIPS)
        given = [self._constant("trip", np.int64(0)), self._constant("go_on", np.bool_(True)), *self._node.input[2:]]
        state = len(self._node.input) - 2
        self._repeat(body, given, trips, drop=1, state=state, axes=[0] * len(self._node.output))

    def scan(self) -> None:
        """A Scan over the axis of its inputs."""
        body = self._body("body")
        count = int(self._attribute("num_scan_inputs"))
        state = len(self._node.input) - count
        axes = [int(a) for a in self._attribute("scan_input_axes", [0] * count)]
        scanned = list(self._node.input[state:])
        trips = self._known.shapes[scanned[0]][axes[0]]
        given = list(self._node.input[:state])
        for name, axis in zip(scanned, axes, strict=True):
            given.append(self._name(f"step_of_{name}"))
            step = self._constant(f"first_of_{name}", np.int64(0))
            self._add("Gather", [name, step], [given[-1]], trips, axis=axis)
        outputs = [int(a) for a in self._attribute("scan_output_axes", [0] * (len(self._node.output) - state))]
        self._repeat(body, given, trips, drop=0, state=state, axes=[0] * state + outputs)

    def _repeat(
        self, body: onnx.GraphProto, given: list[str], trips: int, *, drop: int, state: int, axes: list[int]
    ) -> None:
        """The body once, run `trips` times; what it gives at every trip is stacked."""
        names = dict(zip((info.name for info in body.input), given, strict=True))
        inside = f"the body of '{self._label}' runs {trips} times"
        shapes = self._shapes_of(body, names)
        results = [info.name for info in body.output][drop:]
        ends: dict[str, str] = {}
        for index, (name, output) in enumerate(zip(results, self._node.output, strict=True)):
            if not output:
                continue
            if index < state:
                ends[name] = output
                continue
            single, wide = self._name(f"{name}_{index}"), self._name(f"{name}_{index}_wide")
            shape = list(shapes[name])
            axis = axes[index] if axes[index] >= 0 else axes[index] + len(shape) + 1
            self._stacked.append((name, single))
            axis_name = self._constant(f"axis_{index}", np.array([axis], dtype=np.int64))
            if self._opset >= 13:
                self._behind.append(("Unsqueeze", [single, axis_name], [wide], {}))
            else:
                self._behind.append(("Unsqueeze", [single], [wide], {"axes": [axis]}))
            shape.insert(axis, trips)
            size = self._constant(f"size_{index}", np.array(shape, dtype=np.int64))
            self._behind.append(("Expand", [wide, size], [output], {}))
        self._insert(body, names, ends, trips, inside)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _insert(
        self, body: onnx.GraphProto, given: dict[str, str], ends: dict[str, str], trips: int, inside: str
    ) -> None:
        """Append the nodes of a body under names of their own.

        Args:
            body: of the node.
            given: what stands for its inputs.
            ends: results by name in the body, and the tensors around it that they become.
            trips: how often it runs.
            inside: what is said of its nodes.
        """
        own = {name for node in body.node for name in node.output if name}
        own |= {tensor.name for tensor in body.initializer}
        renamed = {name: self._name(name) for name in own} | given
        for tensor in body.initializer:
            copied = self._graph.initializer.add()
            copied.CopyFrom(tensor)
            copied.name = renamed[tensor.name]
        for node in body.node:
            copied_node = self._graph.node.add()
            copied_node.CopyFrom(node)
            _rename(copied_node, renamed)
            copied_node.name = f"{self._label}/{node.name or node.op_type}"
            self._mark(copied_node, repeats_of(node) * trips, inside)
        known = {info.name: info for info in body.value_info}
        for name in own & known.keys():
            info = self._graph.value_info.add()
            info.CopyFrom(known[name])
            info.name = renamed[name]
        for name, output in ends.items():
            self._add("Identity", [renamed.get(name, name)], [output], 1)
        for name, single in self._stacked:
            self._add("Identity", [renamed.get(name, name)], [single], 1)
        for op, inputs, outputs, attributes in self._behind:
            self._add(op, inputs, outputs, 1, **attributes)

    def _add(self, op: str, inputs: list[str], outputs: list[str], trips: int, **attributes: Any) -> None:
        node = helper.make_node(op, inputs, outputs, name=f"{self._label}/{op}", **attributes)
        self._mark(node, trips, "")
        self._graph.node.append(node)

    def _mark(self, node: onnx.NodeProto, trips: int, inside: str) -> None:
        around, said = repeats_of(self._node), inside_of(self._node)
        del node.metadata_props[:]
        if trips * around != 1:
            node.metadata_props.add(key=REPEATS, value=str(min(trips * around, MOST_TRIPS)))
        if inside or said:
            node.metadata_props.add(key=INSIDE, value=inside or said)

    def _constant(self, word: str, value: np.generic | np.ndarray[Any, Any]) -> str:
        name = self._name(word)
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _name(self, word: str) -> str:
        """A name that no other tensor has: that of what the node writes first is its own."""
        first = next(name for name in self._node.output if name)
        return f"{first}/{word}"

    # -- reading -------------------------------------------------------------------------------------------------------

    def _body(self, key: str) -> onnx.GraphProto:
        return next(a.g for a in self._node.attribute if a.name == key and a.type == AttributeProto.GRAPH)

    def _attribute(self, key: str, default: Any = None) -> Any:
        found = next((a for a in self._node.attribute if a.name == key), None)
        if found is None:
            if default is None:
                raise KeyError(key)
            return default
        return helper.get_attribute_value(found)

    def _shapes_of(self, body: onnx.GraphProto, given: dict[str, str]) -> dict[str, tuple[int, ...]]:
        return _know(self._alone(body, given)).shapes

    def _work(self, body: onnx.GraphProto) -> float:
        """What a branch takes, in bytes that could be moved in its time."""
        model = inlined(self._alone(body, {}), self._label)
        known = _know(model)
        return sum(_work_of(node, known) * repeats_of(node) for node in model.graph.node)

    def _alone(self, body: onnx.GraphProto, given: dict[str, str]) -> onnx.ModelProto:
        """A body as a model: what it takes from outside becomes an input, as far as its type is known."""
        model = onnx.ModelProto(ir_version=10)
        model.opset_import.add(version=self._opset)
        model.graph.CopyFrom(body)
        del model.graph.input[:]
        types = self._known.types
        for info in body.input:
            outer = given.get(info.name, "")
            if outer in types and types[outer].HasField("tensor_type"):
                model.graph.input.append(onnx.ValueInfoProto(name=info.name, type=types[outer]))
            else:
                model.graph.input.append(info)
        for name in _outside(body):
            if name in types:
                model.graph.input.append(onnx.ValueInfoProto(name=name, type=types[name]))
        return model


def _outside(body: onnx.GraphProto) -> list[str]:
    """What a body and those inside it take from around it."""
    own = {name for node in body.node for name in node.output} | {info.name for info in body.input}
    own |= {tensor.name for tensor in body.initializer}
    return [name for name in dict.fromkeys(_read(body)) if name and name not in own]


def _read(body: onnx.GraphProto) -> Iterator[str]:
    for node in body.node:
        yield from node.input
        for inner in _graphs(node):
            yield from _outside(inner)
    yield from (info.name for info in body.output)


def _graphs(node: onnx.NodeProto) -> Iterable[onnx.GraphProto]:
    return (a.g for a in node.attribute if a.type == AttributeProto.GRAPH)


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Give the tensors of a node their new names, in the bodies inside it as well."""
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for body in _graphs(node):
        inside = {name for inner in body.node for name in inner.output} | {info.name for info in body.input}
        inside |= {tensor.name for tensor in body.initializer}
        outer = {name: new for name, new in names.items() if name not in inside}
        for inner in body.node:
            _rename(inner, outer)
        for info in body.output:
            info.name = outer.get(info.name, info.name)


def _work_of(node: onnx.NodeProto, known: _Known) -> float:
    shapes = [known.shapes.get(name, ()) for name in node.input]
    written = sum(prod(known.shapes.get(name, ())) for name in node.output)
    moved = 2.0 * (sum(map(prod, shapes)) + written)
    flops = 0.0
    if node.op_type == "Conv" and len(shapes) > 1:
        flops = 2.0 * written * prod(shapes[1][1:])
    elif node.op_type == "ConvTranspose" and len(shapes) > 1:
        flops = 2.0 * prod(shapes[0]) * prod(shapes[1][1:])
    elif node.op_type in ("MatMul", "Gemm") and shapes and shapes[0]:
        flops = 2.0 * written * shapes[0][-1]
    return moved + flops / FLOPS_A_BYTE
