"""Where the values of a tensor come out of DequantizeLinear: what the Q/DQ nodes of a file ask for."""

from __future__ import annotations

from collections.abc import Mapping

from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import COMMUTING_OPS, CONV_OPS, QUANTIZE_OPS


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

    def before(self, name: str) -> Node | None:
        """The DequantizeLinear that a tensor comes out of; the first of them behind a concatenation."""
        node = self._writer.get(name)
        while node is not None and node.op in COMMUTING_OPS:
            node = self._writer.get(node.inputs[0])
        if node is None or node.op == "DequantizeLinear":
            return node
        if node.op != "Concat":
            return None
        found = [self.before(source) for source in node.inputs]
        scales = {self.scale(dequantize) if dequantize is not None else None for dequantize in found}
        return found[0] if len(scales) == 1 else None

    def missing(self, node: Node) -> list[str]:
        """The operands of a product that come out of none: `input`, `weight`; `first`, `second` of two activations."""
        weighted = node.op in CONV_OPS or self._is_constant(node.inputs[1])
        words = ("input", "weight") if weighted else ("first operand", "second operand")
        pairs = zip(words, node.inputs[:2], strict=True)
        return [word for word, name in pairs if self.before(name) is None]

    def crossed(self, node: Node) -> list[str]:
        """The operators between a product and the DequantizeLinear of its first operand."""
        found, before = [], self._writer.get(node.inputs[0])
        while before is not None and before.op != "DequantizeLinear":
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
            if node is None or node.op not in COMMUTING_OPS | QUANTIZE_OPS:
                return False
            name = node.inputs[0]
        return True
