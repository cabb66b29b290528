"""Where the values of a tensor come out of DequantizeLinear: what the Q/DQ nodes of a file ask for."""

from __future__ import annotations

from collections.abc import Mapping

from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import COMMUTING_OPS, CONV_OPS, QUANTIZE_OPS

MOVES = COMMUTING_OPS | {"Cast", "Expand", "Tile", "GatherND"}
"""What DequantizeLinear may stand before: layers that pick or move values, casts between floats among them."""


class Dequantizers:
    """The DequantizeLinear in front of every tensor of a graph.

    It may stand before layers that only pick or move values, and before a concatenation whose operands share a scale:
    builders move it behind them.

    Args:
        graph: the graph.
        scales: values of scalar constants; scales without one are equal if their names are.
    """

    def __init__(self, graph: Graph, scales: Mapping[str, float]) -> None:
        self._scales = scales
        self._writer = {name: node for node in graph.nodes for name in node.outputs if name}
        self._constants = {name for name, tensor in graph.tensors.items() if tensor.constant}
        self._before: dict[str, Node] = {}
        for node in graph.nodes:  # in topological order
            source = self._source(node)
            if source is not None:
                self._before |= dict.fromkeys(node.outputs, source)

    def before(self, name: str) -> Node | None:
        """The DequantizeLinear that a tensor comes out of; the first of them behind a concatenation."""
        return self._before.get(name)

    def _source(self, node: Node) -> Node | None:
        if node.op == "DequantizeLinear":
            return node
        if node.op in MOVES and not (node.op == "Pad" and not self._pads_zeros(node)):
            return self._before.get(node.inputs[0]) if node.inputs else None
        if node.op != "Concat":
            return None
        found = [self._before.get(source) for source in node.inputs]
        scales = {self.scale(dequantize) if dequantize is not None else None for dequantize in found}
        return found[0] if len(scales) == 1 else None

    def _pads_zeros(self, node: Node) -> bool:
        """Whether a Pad adds nothing but zeros, which are zeros in INT8 too, or values that are there."""
        if node.attribute("mode", "constant") not in ("constant", b"constant") or len(node.inputs) < 3:
            return True
        return not node.inputs[2] or self._scales.get(node.inputs[2]) == 0.0

    def missing(self, node: Node) -> list[str]:
        """The operands of a product that come out of none: `input`, `weight`; `first`, `second` of two activations."""
        weighted = node.op in CONV_OPS or self._is_constant(node.inputs[1])
        words = ("input", "weight") if weighted else ("first operand", "second operand")
        return [word for word, name in zip(words, node.inputs[:2], strict=True) if self.before(name) is None]

    def crossed(self, node: Node) -> list[str]:
        """The operators between a product and the DequantizeLinear of its first operand."""
        found, before = [], self._writer.get(node.inputs[0])
        while before is not None and before.op != "DequantizeLinear" and before.inputs:
            found.append(before.op)
            before = self._writer.get(before.inputs[0])
        return list(dict.fromkeys(reversed(found)))

    def scale(self, node: Node) -> float | str:
        """The scale of a Q or DQ node: its value, or its name where the value is not known."""
        return self._scales.get(node.inputs[1], node.inputs[1])

    def _is_constant(self, name: str) -> bool:
        """Whether a tensor is made of constants alone: a weight, behind its Q/DQ as well."""
        while name not in self._constants:
            node = self._writer.get(name)
            if node is None or node.op not in MOVES | QUANTIZE_OPS or not node.inputs:
                return False
            name = node.inputs[0]
        return True
