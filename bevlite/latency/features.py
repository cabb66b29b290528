"""What of a kernel decides its time: products, traffic, elementwise work. No coefficient and no board in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

from onnx import TensorProto

from bevlite.latency.fusion import FusedGraph, Group
from bevlite.latency.gemm import CHANNEL_ALIGNMENT, Product, products
from bevlite.latency.graph import Graph, Tensor
from bevlite.latency.operators import KNOWN_OPS, UNCERTAIN_OPS

Precision = Literal["fp32", "fp16", "int8"]
Role = Literal["constant", "read", "write", "gathered", "sampled"]

SECTOR_BYTES = 32
"""Memory moves in sectors of this size: a gathered row that is shorter still costs one."""
TOPK_PASSES = 8
"""Kernels that a TopK takes (assumed)."""
NMS_PLUGIN = "EfficientNMS_TRT"
"""The plugin that most published detection engines end with."""
BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class KernelFeatures:
    """One kernel. `traffic` are bytes by role; `element_flops` is work outside of products."""

    name: str
    op: str
    nodes: tuple[str, ...]
    precision: Precision
    launches: int
    products: tuple[Product, ...]
    attention: bool
    traffic: tuple[tuple[Role, float], ...]
    element_flops: float
    uncertain: str = ""
    anchors: float = 0.0
    """Candidates of an EfficientNMS plugin."""

    @property
    def flops(self) -> float:
        """Floating point operations of the products (two a multiply-add)."""
        return sum(p.flops for p in self.products)


def kernel_features(graph: Graph, fused: FusedGraph, precision: Precision) -> list[KernelFeatures]:
    """The kernels of a fused graph, in order of execution, with the reformatting of FP32 images before them."""
    reader = _Reader(graph, fused, precision)
    kernels = [reader.features(group) for group in fused.groups if not group.elided]
    reformats = precision != "fp32" and fused.rules.reformat_inputs
    return [*_reformats(graph), *kernels] if reformats else kernels


def nms_plugin(anchors: int) -> KernelFeatures:
    """The plugin at the end of an engine whose ONNX file is without it."""
    return KernelFeatures("nms", NMS_PLUGIN, (), "fp16", 0, (), False, (), 0.0, anchors=float(anchors))


def _reformats(graph: Graph) -> list[KernelFeatures]:
    """Maps that come in as FP32 are rewritten once, in 16 bits and with their channels in eights."""
    found = []
    for name in graph.inputs:
        tensor = graph.tensor(name)
        if len(tensor.shape) != 4 or tensor.elem_type != TensorProto.FLOAT:
            continue
        padded = tensor.numel / tensor.shape[1] * ceil(tensor.shape[1] / CHANNEL_ALIGNMENT) * CHANNEL_ALIGNMENT
        traffic: tuple[tuple[Role, float], ...] = (("read", 4.0 * tensor.numel), ("write", 2.0 * padded))
        found.append(KernelFeatures(name, "Reformat", (), "fp16", 1, (), False, traffic, 0.0))
    return found


class _Reader:
    def __init__(self, graph: Graph, fused: FusedGraph, precision: Precision) -> None:
        self.graph, self.precision = graph, precision
        self.constants = fused.constants
        self.rules = fused.rules
        self.explicit_int8 = fused.quantized  # the file's own Q/DQ nodes decide what runs in INT8

    def features(self, group: Group) -> KernelFeatures:
        op = group.anchor.op
        work = products(self.graph, group)
        precision = self._kernel_precision(group, work)
        uncertain = UNCERTAIN_OPS.get(op, "")
        if op != NMS_PLUGIN and (op not in KNOWN_OPS or group.anchor.domain):
            uncertain = f"operator {op} is unknown to the model: only its memory traffic counts"
        return KernelFeatures(
            name=group.anchor.name,
            op="Attention" if group.attention else op,
            nodes=tuple(node.name for node in group.nodes),
            precision=precision,
            launches=self._launches(group),
            products=tuple(work),
            attention=group.attention is not None,
            traffic=tuple(self._traffic(group, precision, op)) * self._passes(group),
            element_flops=self._element_flops(group, bool(work)),
            uncertain=uncertain,
            anchors=self._anchors(group),
        )

    def _launches(self, group: Group) -> int:
        op = group.anchor.op
        if op == "CumSum":
            return self._loop_steps(group)
        return TOPK_PASSES if op == "TopK" else 4 if self._passes(group) > 1 else 1

    def _passes(self, group: Group) -> int:
        """How often a kernel's data moves: a normalisation taken apart reads for mean, variance and result."""
        return 3 if group.anchor.op == "LayerNormalization" and not self.rules.layer_norm else 1

    def _anchors(self, group: Group) -> float:
        """Candidates of the plugin: boxes are its first input, (B, anchors, 4)."""
        if group.anchor.op != NMS_PLUGIN:
            return 0.0
        return float(self.graph.tensor(group.anchor.inputs[0]).shape[1])

    def _element_flops(self, group: Group, has_products: bool) -> float:
        elements = sum(t.numel for t in (*group.inputs.values(), *group.outputs.values()))
        if group.anchor.op == "DeformConv":
            return 200.0 * elements
        return 0.0 if has_products else 4.0 * len(group.nodes) * elements

    def _loop_steps(self, group: Group) -> int:
        """Iterations of a CumSum, which TensorRT imports as a loop: the size of the summed axis."""
        source = self.graph.tensor(group.anchor.inputs[0])
        axis = self.graph.integers.get(group.anchor.inputs[1], (-1,))[0]
        return max(1, source.shape[axis]) if source.shape else 1

    def _kernel_precision(self, group: Group, work: list[Product]) -> Precision:
        if self.explicit_int8:
            return "int8" if group.quantized else ("fp32" if self.precision == "fp32" else "fp16")
        weights = [name for name in group.anchor.inputs[1:2] if name in self.constants]
        depthwise = bool(work) and all(p.depthwise for p in work)
        eligible = bool(work) and bool(weights) and not depthwise and group.attention is None
        if self.precision == "int8":
            return "int8" if eligible else "fp16"  # NVIDIA leaves attention products and depthwise in FP16
        return self.precision

    def _bytes(self, tensor: Tensor, precision: Precision) -> float:
        if not tensor.is_float:
            return float(tensor.stored_bytes())
        declared = tensor.stored_bytes() / tensor.numel if tensor.numel else BYTES[precision]
        return tensor.numel * float(min(BYTES[precision], declared))

    def _traffic(self, group: Group, precision: Precision, op: str) -> list[tuple[Role, float]]:
        found: list[tuple[Role, float]] = []
        for name, tensor in group.inputs.items():
            if op.startswith("Gather") and name == group.anchor.inputs[0]:
                found.append(("gathered", self._gathered_bytes(group, tensor, precision)))
            elif op == "GridSample" and name == group.anchor.inputs[0]:
                found.append(("sampled", self._sampled_bytes(group, precision)))
            else:
                role: Role = "constant" if name in self.constants else "read"
                found.append((role, self._bytes(tensor, precision)))
        found += [("write", self._bytes(tensor, precision)) for tensor in group.outputs.values()]
        return found

    def _gathered_bytes(self, group: Group, table: Tensor, precision: Precision) -> float:
        """Rows of a table in random order: whole sectors."""
        out = sum(t.numel for t in group.outputs.values())
        plain = group.anchor.op == "Gather"
        axis = int(group.anchor.attribute("axis", 0)) if plain else len(table.shape) - 1
        row = max(1, prod(table.shape[axis + 1 :])) if plain and axis >= 0 else 1
        element = self._bytes(table, precision) / max(1, table.numel)
        return out / row * ceil(row * element / SECTOR_BYTES) * SECTOR_BYTES

    def _sampled_bytes(self, group: Group, precision: Precision) -> float:
        taps = 1 if group.anchor.attribute("mode", "bilinear") == "nearest" else 4
        return taps * self._bytes(self.graph.tensor(group.anchor.outputs[0]), precision)
