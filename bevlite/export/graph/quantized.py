"""QuantizeLinear and DequantizeLinear in the graph of a module, where the placement of its network says.

The graph stays what was traced: layers are found by the module path in the names of their nodes. Zero points are 0,
values of maps have one scale a tensor and weights one a channel of output, and weights keep their values, rounded, as
floats in front of their Q/DQ: the form that every parser from TensorRT 8.5 on takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bevlite.models.quantization.fake import LEVELS, SMALLEST
from bevlite.models.quantization.placement import SKIP, Placement

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
UNKNOWN = 1.0
"""The largest value at a point whose scale is not known: a graph for latency alone."""


@dataclass(frozen=True)
class Quantized:
    """What is in INT8 in a network.

    placement: of its variant. layers: those in INT8. largest: absolute value at each point that INT8 holds; None for a
    graph whose values do not count.
    """

    placement: Placement
    layers: frozenset[str]
    largest: Mapping[str, float] | None = None

    def step(self, point: str) -> np.float32:
        """The scale of a point, as FP16 holds it."""
        return step_of(np.float32(UNKNOWN if self.largest is None else self.largest[point]))


def step_of(largest: np.ndarray | np.float32) -> np.float32:
    """As `bevlite.models.quantization.fake.scale_of`."""
    step = (np.asarray(largest, np.float32) / np.float32(LEVELS)).astype(np.float16).astype(np.float32)
    return np.maximum(step, np.float32(SMALLEST))  # type: ignore[return-value]


def place(model: onnx.ModelProto, quantized: Quantized, path_of: Callable[[str], str]) -> onnx.ModelProto:
    """Put Q/DQ into a graph in FP32, in place.

    Args:
        model: one module, simplified, batch norms folded.
        quantized: what is in INT8.
        path_of: from the name of a node to the path of its layer.
    """
    graph = model.graph
    _name_weights(graph)
    writer = _Writer(graph)
    nodes: list[onnx.NodeProto] = []
    skips = _skips(graph, quantized, path_of)
    for node in graph.node:
        before = len(writer.made)
        path = path_of(node.name) if node.op_type in PRODUCTS else ""
        if path in quantized.layers:
            node.input[0] = writer.value(node.input[0], quantized.step(path))
            node.input[1] = writer.weight(node)
        elif node.name in skips:
            place_of, point = skips[node.name]
            node.input[place_of] = writer.value(node.input[place_of], quantized.step(point))
        nodes += [*writer.made[before:], node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _name_weights(graph: onnx.GraphProto) -> None:
    """Weights that stand in the graph as nodes become initialisers of the same name."""
    read = {node.input[1] for node in graph.node if node.op_type in PRODUCTS}
    for node in [node for node in graph.node if node.op_type == "Constant" and node.output[0] in read]:
        tensor = onnx.TensorProto()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _skips(graph: onnx.GraphProto, quantized: Quantized, path_of: Callable[[str], str]) -> dict[str, tuple[int, str]]:
    """Additions by name: which operand is the skip branch, and its point."""
    made_by = {node.output[0]: path_of(node.name) for node in graph.node if node.op_type == "Conv"}
    found = {}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for place_of, name in enumerate(node.input):
            path = made_by.get(name, "")
            if path in quantized.layers and quantized.placement.products[path].skip:
                found[node.name] = 1 - place_of, path + SKIP
    return found


class _Writer:
    """Makes Q/DQ pairs and their constants; a tensor that is read twice at one scale is rounded once."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph, self.made = graph, list[onnx.NodeProto]()
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._known: dict[tuple[str, float], str] = {}
        self._zero = ""

    def value(self, name: str, step: np.float32) -> str:
        """A tensor behind Q and DQ."""
        key = name, float(step)
        if key not in self._known:
            self._known[key] = self._pair(name, np.asarray(step), None)
        return self._known[key]

    def weight(self, node: onnx.NodeProto) -> str:
        """The weight of a product behind Q and DQ, rounded."""
        name, axis = node.input[1], self._axis(node)
        key = name, -1.0
        if key not in self._known:
            tensor = self._weights.get(name)
            if tensor is None:
                raise ValueError(f"{node.name}: its weight {name} is computed in the graph")
            steps = np.ones(tensor.dims[axis], np.float32)
            if has_values(tensor):
                values = numpy_helper.to_array(tensor).astype(np.float32)
                others = tuple(one for one in range(values.ndim) if one != axis)
                steps = np.asarray(step_of(np.abs(values).max(others)))
                shaped = steps.reshape([-1 if one == axis else 1 for one in range(values.ndim)])
                rounded = np.clip(np.round(values / shaped), -LEVELS - 1, LEVELS) * shaped
                tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), name))
            self._known[key] = self._pair(name, steps, axis)
        return self._known[key]

    @staticmethod
    def _axis(node: onnx.NodeProto) -> int:
        """Where the channels of output lie."""
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        return 0 if node.op_type == "Conv" or transposed else 1

    def _pair(self, name: str, steps: np.ndarray, axis: int | None) -> str:
        scale = f"{name}__scale{len(self._known)}"
        self.graph.initializer.append(numpy_helper.from_array(np.asarray(steps, np.float32), scale))
        zero = self._zeros(steps, scale)
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        middle, out = f"{scale}_int8", f"{scale}_back"
        self.made += [
            helper.make_node("QuantizeLinear", [name, scale, zero], [middle], name=f"{scale}_Q", **attributes),
            helper.make_node("DequantizeLinear", [middle, scale, zero], [out], name=f"{scale}_DQ", **attributes),
        ]
        return out

    def _zeros(self, steps: np.ndarray, scale: str) -> str:
        if steps.ndim == 0 and self._zero:
            return self._zero
        name = f"{scale}_zero"
        self.graph.initializer.append(numpy_helper.from_array(np.zeros(steps.shape, np.int8), name))
        self._zero = self._zero if steps.ndim else name
        return name


def has_values(tensor: onnx.TensorProto) -> bool:
    """Whether an initialiser holds its numbers, and not its shape alone."""
    return bool(tensor.raw_data or tensor.float_data or tensor.double_data or 0 in tensor.dims)
