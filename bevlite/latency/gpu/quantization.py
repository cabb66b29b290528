"""INT8 by Q/DQ nodes: which products run in it, which stay in FP16 and why, and where scales must be changed.

The rules are those of NVIDIA's TensorRT documentation on explicit quantisation and of the quantisation of
CUDA-BEVFusion: Q/DQ on every input of a product, weights included; on the skip branch of a residual addition and not
on the branch of the convolution; one scale for all operands of a concatenation. DequantizeLinear moves forward over
layers that only pick or move values. Q/DQ binds: a product with both is built in INT8 whether that helps or not (a
depthwise one is, padded to four channels a group), or the build fails. `benchmarks/rtx_agreement.py` holds the rules
against NVIDIA's compiler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from bevlite.latency.gpu.fusion import INT8_GROUP, FusedGraph
from bevlite.latency.gpu.qdq import Dequantizers
from bevlite.latency.onnx.graph import Graph, Node
from bevlite.latency.onnx.operators import CONV_OPS, GEMM_OPS
from bevlite.tensorrt import Version, is_strongly_typed

BETWEEN = frozenset({"BatchNormalization", "Add", "Sub", "Cast"})
"""What may stand between a convolution and the addition of a skip branch."""
EPILOGUE = BETWEEN | {"Relu", "Clip"}
"""What a convolution takes in before its result is quantised."""
FLOAT_ONLY = frozenset({"GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "ReduceSum", "GridSample",
                        "Softmax", "LayerNormalization"})  # fmt: skip
"""Layers that have no INT8 kernel: global pooling is imported as a reduction."""
ONE_SCALE = frozenset({"MaxPool"})
"""Layers that compute on quantised values as they are, if the scale stays."""
NAMED = 8
"""Nodes that a note names."""


@dataclass(frozen=True)
class Int8Row:
    """Nodes with the same finding. `effect` is `stays FP16`, `gains nothing` or `requantised`."""

    effect: str
    op: str
    reason: str
    remedy: str
    nodes: tuple[str, ...]

    def note(self) -> str:
        """The row as a sentence, with the first of the nodes by name."""
        more = f" and {len(self.nodes) - NAMED} more" if len(self.nodes) > NAMED else ""
        names = ", ".join(self.nodes[:NAMED]) + more
        return f"INT8: {len(self.nodes)} {self.op} {self.effect} ({self.reason}): {names}; {self.remedy}"


@dataclass(frozen=True)
class Int8Findings:
    """What INT8 does to a file: products in INT8 of all products, and the rows of the others."""

    explicit: bool
    int8_products: int
    products: int
    rows: tuple[Int8Row, ...]

    def notes(self, version: Version) -> list[str]:
        """The findings in words, for a version of TensorRT."""
        if self.explicit:
            head = f"INT8: {self.int8_products} of {self.products} products run in INT8, by the Q/DQ nodes of the file"
        elif is_strongly_typed(version):
            head = (
                "INT8: the file has no Q/DQ nodes, and TensorRT 11 takes INT8 from them alone: it refuses, or builds "
                "FP16; the time is that of the same network with Q/DQ placed as NVIDIA does"
            )
        else:
            head = (
                "INT8: the file has no Q/DQ nodes: TensorRT quantises by itself, and without a calibration cache it "
                "invents the ranges: the time is real then, the accuracy is noise; TensorRT 11 refuses it"
            )
        return [head, *(row.note() for row in self.rows)]


def is_product(node: Node) -> bool:
    """Whether a node multiplies two tensors: an Einsum of one only picks and adds."""
    return node.op in GEMM_OPS and len(node.inputs) >= 2


def scales_of(model: onnx.ModelProto) -> dict[str, float]:
    """The scalar constants of a file by name: scales of Q/DQ nodes are among them."""
    tensors = [(tensor.name, tensor) for tensor in model.graph.initializer]
    tensors += [
        (node.output[0], node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value"
    ]
    small = [(n, t) for n, t in tensors if not any(d != 1 for d in t.dims) and t.data_location != t.EXTERNAL]
    return {name: float(numpy_helper.to_array(tensor).reshape(-1)[0]) for name, tensor in small if _has_value(tensor)}


def findings(graph: Graph, fused: FusedGraph, scales: Mapping[str, float]) -> Int8Findings:
    """What INT8 does to a graph. Without Q/DQ nodes: what NVIDIA's own placement would leave in FP16."""
    reader = _Reader(graph, fused, scales)
    products = [node for group in fused.groups for node in group.nodes if is_product(node)]
    found: dict[tuple[str, str, str, str], list[str]] = {}
    stay = 0
    for node in products:
        why = reader.why_fp16(node)
        if why is not None:
            stay += 1
            found.setdefault(("stays FP16", node.op, *why), []).append(node.name)
        elif (idle := reader.why_no_gain(node)) is not None:
            found.setdefault(("gains nothing", node.op, *idle), []).append(node.name)
    if fused.quantized:
        for node in graph.nodes:
            why = reader.why_requantised(node)
            if why is not None:
                found.setdefault(("requantised", node.op, *why), []).append(node.name)
    rows = tuple(Int8Row(*key, tuple(nodes)) for key, nodes in found.items())
    return Int8Findings(fused.quantized, len(products) - stay, len(products), rows)


class _Reader:
    def __init__(self, graph: Graph, fused: FusedGraph, scales: Mapping[str, float]) -> None:
        self.graph, self.qdq = graph, Dequantizers(graph, scales)
        self.explicit, self.constants = fused.quantized, fused.constants
        self.writer = {name: node for node in graph.nodes for name in node.outputs if name}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)
        self.attention = {id(node) for group in fused.groups for node in group.attention or ()}

    def why_fp16(self, node: Node) -> tuple[str, str] | None:
        """Reason and remedy, or None when the product runs in INT8."""
        if not self.explicit and (idle := self.why_no_gain(node)) is not None:
            return idle
        missing = self.qdq.missing(node)
        if id(node) in self.attention and (missing or not self.explicit):
            return "inside attention", "as NVIDIA recommends"
        if not self.explicit:
            weights = {word for word, _ in self._operands(node)}
            return None if "weight" in weights else ("a product of two activations", "as NVIDIA recommends")
        if not missing:
            return None
        return f"no Q/DQ on {' and '.join(missing)}", "quantise all inputs of a product, or none"

    def why_no_gain(self, node: Node) -> tuple[str, str] | None:
        """Reason and remedy for a product that is no faster in INT8, or None."""
        channels = self._group_channels(node)
        if channels % INT8_GROUP == 0:
            return None
        kind = "depthwise" if channels == 1 else f"grouped, {channels} channels a group"
        reason = f"{kind}: INT8 kernels take multiples of {INT8_GROUP} and pad the rest"
        return reason, "leave its Q/DQ nodes out, FP16 is as fast"

    def why_requantised(self, node: Node) -> tuple[str, str] | None:
        """Reason and remedy for a layer at which scales are changed or a fusion is lost."""
        if node.op == "Concat":
            return self._different_scales(node)
        if node.op == "Add":
            return self._residual(node)
        if node.op in ONE_SCALE:
            return self._changed_scale(node)
        if node.op in FLOAT_ONLY and self.qdq.before(node.inputs[0]) is not None:
            return "no INT8 kernel: it is dequantised before", "leave its Q/DQ nodes out"
        return self._fork(node) if node.op == "QuantizeLinear" else None

    def _changed_scale(self, node: Node) -> tuple[str, str] | None:
        """A pooling that would run on INT8 values as they are, between two scales."""
        before = self.qdq.before(node.inputs[0])
        after = [n for n in self.readers.get(node.outputs[0], ()) if n.op == "QuantizeLinear"]
        if before is None or not after:
            return None
        scales = {self.qdq.scale(n) for n in (before, *after)}
        if len(scales) == 1:
            return None
        return "another scale behind than before", "give both the same scale, or leave the second Q/DQ out"

    def _fork(self, node: Node) -> tuple[str, str] | None:
        """A tensor of a product that is read quantised and in float: it is written in float, and quantised apart.

        Additions and concatenations among its readers have findings of their own.
        """
        source = node.inputs[0]
        others = [n for n in self.readers.get(source, ()) if n.op not in ("QuantizeLinear", "Add", "Concat")]
        if not others or self._product(source, EPILOGUE) is None:
            return None
        names = ", ".join(sorted({n.op for n in others}))
        return f"its tensor is read in float too (by {names})", "quantise it for all its readers, with one scale"

    def _different_scales(self, node: Node) -> tuple[str, str] | None:
        sources = [self.qdq.before(name) for name in node.inputs if name not in self.constants]
        found = [dq for dq in sources if dq is not None]
        if not found:
            return None
        if len(found) < len(sources):
            reason = f"{len(found)} of {len(sources)} operands have Q/DQ"
            return reason, "quantise all operands with one scale, or none"
        scales = {self.qdq.scale(dq) for dq in found}
        if len(scales) == 1:
            return None
        return f"{len(scales)} different scales", "give all operands the scale of the largest range"

    def _residual(self, node: Node) -> tuple[str, str] | None:
        """An addition of two branches, one of which at least is a convolution in INT8."""
        operands = [name for name in node.inputs if name not in self.constants]
        if len(operands) != 2:
            return None
        quantized = [self.qdq.before(name) is not None for name in operands]
        behind = [self._product_before(name, over) for name, over in zip(operands, quantized, strict=True)]
        if not any(product is not None and self.why_fp16(product) is None for product in behind):
            return None
        remedy = "quantise the skip branch alone: the convolution then takes the addition in"
        if all(quantized):
            return "Q/DQ on both branches of a residual addition", remedy
        if not any(quantized):
            return "no Q/DQ on the skip branch of a residual addition", remedy
        plain = behind[quantized.index(False)]
        if plain is None:
            return "Q/DQ on the wrong branch of a residual addition", remedy
        return None

    def _operands(self, node: Node) -> list[tuple[str, str]]:
        """The two operands of a product with what they are: input or weight."""
        return [("weight" if name in self.constants else "input", name) for name in node.inputs[:2]]

    def _group_channels(self, node: Node) -> int:
        """Input channels a group of a grouped convolution; a multiple of four for everything else."""
        groups = int(node.attribute("group", 1)) if node.op in CONV_OPS else 1
        return self.graph.tensor(node.inputs[0]).shape[1] // groups if groups > 1 else INT8_GROUP

    def _product_before(self, name: str, over_quantizer: bool) -> Node | None:
        """The convolution or matrix product whose result a tensor is, behind its norm and bias, and its Q/DQ."""
        if over_quantizer:
            dequantize = self.qdq.before(name)
            quantize = self.writer.get(dequantize.inputs[0]) if dequantize is not None else None
            name = quantize.inputs[0] if quantize is not None else ""
        return self._product(name, BETWEEN)

    def _product(self, name: str, over: frozenset[str]) -> Node | None:
        node = self.writer.get(name)
        while node is not None and node.op in over:
            rest = [n for n in node.inputs if n not in self.constants]
            node = self.writer.get(rest[0]) if len(rest) == 1 else None
        return node if node is not None and node.op in GEMM_OPS else None


def _has_value(tensor: onnx.TensorProto) -> bool:
    """Whether the value is there: weights of stripped files have none."""
    return bool(tensor.raw_data or tensor.float_data or tensor.int32_data or tensor.double_data)
