"""INT8 as the Q/DQ nodes of a file ask for it, as NVIDIA's compiler grants it, and as our own rules place it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from bevlite.latency.gpu.fusion import FusedGraph, fuse, tensorrt_rules
from bevlite.latency.gpu.gemm import product as count
from bevlite.latency.gpu.qdq import Dequantizers
from bevlite.latency.gpu.quantization import findings, is_product, scales_of
from bevlite.latency.onnx.graph import Graph, Node, read_graph
from bevlite.latency.onnx.operators import CONV_OPS, GEMM_OPS
from bevlite.rtx.graph import BuiltGraph, BuiltLayer
from bevlite.tensorrt import DEFAULT_VERSION, parse_version

WORDS = {"Conv": "convolution", "ConvTranspose": "transposed convolution", "MatMul": "matrix product",
         "Gemm": "matrix product"}  # fmt: skip

_MARK = "[ONNX Layer: "
_UNCLEAR = "its name is that of another node too, or looks like the compiler's own marks: the list cannot tell"
_WITHOUT_INT8 = frozenset({"ConvTranspose"})
"""Products that the compiler was never seen to run in INT8, wherever their Q/DQ stand."""


@dataclass(frozen=True)
class Int8Product:
    """One convolution or matrix product of a file with Q/DQ nodes.

    Attributes:
        node: its name, as NVIDIA's parser gives it.
        op: its operator.
        asked: what the Q/DQ nodes ask for: both its operands come out of DequantizeLinear.
        runs: the type that the compiler multiplies in (`int8`, `fp16`, ...); empty where no layer names it.
        kernel: the layer that it runs in.
        reason: why what was asked was not given, or why it was not asked; empty where all is said.
        placed: whether our own rules place it in INT8.
        placed_reason: why they do not, or what they say against it.
        macs: multiply-adds of one frame.
    """

    node: str
    op: str
    asked: bool
    runs: str
    kernel: str
    reason: str
    placed: bool
    placed_reason: str
    macs: float = 0.0

    @property
    def granted(self) -> bool:
        """Whether it runs in INT8."""
        return self.runs == "int8"

    @property
    def denied(self) -> bool:
        """Whether INT8 was asked for and something else is known to run."""
        return self.asked and self.known and not self.granted

    @property
    def known(self) -> bool:
        """Whether the compiler's list says what it runs in."""
        return bool(self.runs)

    @property
    def agrees(self) -> bool:
        """Whether our rules say what the compiler does, as far as that is known."""
        return not self.known or self.placed == self.granted

    def note(self) -> str:
        """What was asked and not given, in a sentence."""
        runs = self.runs.upper() or "no layer of its own"
        return f"{self.node} ({self.op}) was asked for INT8 and runs in {runs}: {self.reason}"


def parser_names(model: onnx.ModelProto) -> dict[str, str]:
    """What NVIDIA's parser calls the node that writes a tensor: one without name after what it writes."""
    return {name: node.name or f"node_of_{node.output[0]}" for node in model.graph.node for name in node.output}


def int8_products(
    model: onnx.ModelProto, built: BuiltGraph, tensorrt: str = DEFAULT_VERSION
) -> tuple[Int8Product, ...]:
    """Every product of a file: what was asked, what the compiler gave, what our rules say.

    Args:
        model: the file, with its scales.
        built: what the compiler made of it.
        tensorrt: version that our own rules are asked for.

    Raises:
        BevliteError: shapes of the file that cannot be found.
    """
    graph = read_graph(model)
    comparison = _Comparison(model, graph, built, fuse(graph, tensorrt_rules(parse_version(tensorrt))))
    return tuple(comparison.product(node) for node in graph.nodes if is_product(node))


def lost_share(products: Iterable[Int8Product]) -> float:
    """Of the multiply-adds that were asked for INT8 and of which the compiler says what they run in: what it denied."""
    known = [product for product in products if product.asked and product.known]
    total = sum(product.macs for product in known)
    return sum(product.macs for product in known if product.denied) / total if total else 0.0


def denied(products: Iterable[Int8Product]) -> list[Int8Product]:
    """The products that were asked for INT8 and did not get it."""
    return [product for product in products if product.denied]


class _Comparison:
    """The three views of one file: its Q/DQ nodes, the compiler's layers, our placement."""

    def __init__(self, model: onnx.ModelProto, graph: Graph, built: BuiltGraph, fused: FusedGraph) -> None:
        scales = scales_of(model)
        self._graph = graph
        placed = findings(graph, fused, scales)
        self._asked, self._built, self._explicit = Dequantizers(graph, scales), built, placed.explicit
        self._names = parser_names(model)
        self._shared = {name for name, count in Counter(node.name for node in model.graph.node).items() if count > 1}
        self._said = {name: row for row in placed.rows if row.op in GEMM_OPS for name in row.nodes}

    def product(self, node: Node) -> Int8Product:
        """What each of the three says of one product."""
        name = self._names.get(node.outputs[0], node.name)
        unclear = name in self._shared or _MARK in name
        missing, layer = self._asked.missing(node), None if unclear else self._built.layer_of(name)
        runs = layer.multiplies_in if layer is not None else ""
        said, counted = self._said.get(node.name), count(self._graph, node)
        return Int8Product(
            node=name,
            op=node.op,
            asked=not missing,
            runs=runs,
            kernel=layer.name if layer is not None else "",
            reason=_UNCLEAR if unclear else self._why(node, layer, runs, missing),
            placed=self._explicit and (said is None or said.effect != "stays FP16"),
            placed_reason=said.reason if said is not None else "",
            macs=counted.flops / 2 if counted is not None else 0.0,
        )

    def _why(self, node: Node, layer: BuiltLayer | None, runs: str, missing: list[str]) -> str:
        """Why a product runs in something else than INT8; empty where it was asked for and given."""
        if missing:
            return f"no Q/DQ on {' and '.join(missing)}"
        if runs == "int8":
            return ""
        if layer is None:
            return "no layer of the compiler names it: it was computed while building, or is not needed"
        if not layer.is_product:
            return f"it became part of the generated kernel {layer.name}"
        crossed = self._asked.crossed(node)
        if crossed and node.op not in _WITHOUT_INT8:
            return f"its DequantizeLinear stands before {', '.join(crossed)}, over which the compiler does not move it"
        what = WORDS.get(node.op, node.op)
        if node.op in CONV_OPS and int(node.attribute("group", 1)) > 1:
            what = f"grouped {what}"
        return (
            f"the compiler has no INT8 kernel for this {what} and dequantises its operands to {runs.upper()} before it"
        )
