"""What of a kernel decides its time: products, traffic, elementwise work. No coefficient and no board in it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Literal

from bevlite.latency.gpu.fusion import FusedGraph, takes_int8
from bevlite.latency.gpu.gemm import CHANNEL_ALIGNMENT, Product, products
from bevlite.latency.gpu.placed import IMPOSSIBLE, Group, is_reformatted, unreadable
from bevlite.latency.gpu.recurrent import recurrent_work
from bevlite.latency.onnx.graph import Graph, Node, Tensor
from bevlite.latency.onnx.operators import (
    CONV_OPS,
    KNOWN_OPS,
    NORM_OPS,
    RECURRENT_OPS,
    REDUCE_OPS,
    RESIZE_OPS,
    UNCERTAIN_OPS,
)

Precision = Literal["fp32", "fp16", "int8"]
Traffic = tuple[str, float]
"""Bytes moved with their role: constant, read, write, gathered, sampled, or one that a backend has of its own."""

SECTOR_BYTES = 32
"""Memory moves in sectors of this size: a gathered row that is shorter still costs one."""
LINEAR_TAPS, FLOPS_A_TAP, MOST_NODES = 4, 14, 3
"""Interpolation in two axes, what a node of its kernel costs at one tap (of generated kernels on an H200 that the
compiler had tuned; those tuned in place cost 9.5), and how many nodes count: what feeds it is computed at every tap."""
SPECIAL_FLOPS = {"Erf": 70.0, "Gelu": 70.0, "Softplus": 50.0, "Mish": 50.0, "Pow": 20.0, "Log": 20.0}
"""What a value of a function costs beyond the plain arithmetic: Erf and Softplus from kernels on an H200 that the
compiler had tuned (in place they cost 45 and 60), Gelu as Erf, the others assumed. No row on Orin tells them."""
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
    traffic: tuple[Traffic, ...]
    element_flops: float
    uncertain: str = ""
    resident_bytes: float = 0.0
    """What the constants of the whole graph take: they stay in a cache that holds them all."""
    table_bytes: float = 0.0
    """The largest table that the kernel gathers from."""
    reduces: bool = False
    """It brings together values of different threads: a reduction, a Softmax, a normalisation."""
    anchors: float = 0.0
    """Candidates of an EfficientNMS plugin."""
    repeats: int = 1
    """How often it runs in one frame."""
    possible_flops: float = 0.0
    """Of an operator that the model does not know: what it may have to compute."""

    @property
    def flops(self) -> float:
        """Floating point operations of the products (two a multiply-add), of all its runs."""
        return self.repeats * sum(p.flops for p in self.products)


def kernel_features(graph: Graph, fused: FusedGraph, precision: Precision) -> list[KernelFeatures]:
    """The kernels of a fused graph, in order of execution, with the reformatting of FP32 images before them."""
    kernels = Reader(graph, fused, precision).kernels()
    return kernels if precision == "fp32" else [*_reformats(graph), *kernels]


def nms_plugin(anchors: int) -> KernelFeatures:
    """The plugin at the end of an engine whose ONNX file is without it."""
    return KernelFeatures("nms", NMS_PLUGIN, (), "fp16", 0, (), False, (), 0.0, anchors=float(anchors))


def _reformats(graph: Graph) -> list[KernelFeatures]:
    """Maps that come in as FP32 are rewritten once, in 16 bits and with their channels in eights."""
    found = []
    for name in graph.inputs:
        tensor = graph.tensor(name)
        if not is_reformatted(tensor):
            continue
        padded = tensor.numel / tensor.shape[1] * ceil(tensor.shape[1] / CHANNEL_ALIGNMENT) * CHANNEL_ALIGNMENT
        traffic: tuple[Traffic, ...] = (("read", 4.0 * tensor.numel), ("write", 2.0 * padded))
        found.append(KernelFeatures(name, "Reformat", (), "fp16", 1, (), False, traffic, 0.0))
    return found


class Reader:
    """Reads the kernels off a fused graph; a backend of other habits overrides what its kernels do otherwise."""

    reducing: frozenset[str] = REDUCE_OPS | NORM_OPS
    """Operators that bring together values of different threads."""
    tap_flops: float = FLOPS_A_TAP

    def __init__(self, graph: Graph, fused: FusedGraph, precision: Precision) -> None:
        self.graph, self.precision = graph, precision
        self.constants = fused.constants
        self.fused = fused
        # Constants count where they are read: an exporter merges equal ones.
        read = [tensor for group in fused.groups for name, tensor in group.inputs.items() if name in fused.constants]
        self.constant_bytes = sum(self.bytes_of(tensor, precision) for tensor in read)
        self.explicit_int8 = fused.quantized  # the file's own Q/DQ nodes decide what runs in INT8

    def kernels(self) -> list[KernelFeatures]:
        """All kernels, in order of execution."""
        found = []
        for group in self.fused.groups:
            if not group.elided:
                try:
                    found.append(self.features(group))
                except IMPOSSIBLE as error:
                    raise unreadable(self.graph, group.anchor, error) from None
        return found

    def features(self, group: Group) -> KernelFeatures:
        """What decides the time of one kernel."""
        op = group.anchor.op
        work = self.products(group)
        loop = recurrent_work(self.graph, group.anchor)
        work = list(loop.products) if loop is not None else work
        precision = self._kernel_precision(group, work)
        uncertain = UNCERTAIN_OPS.get(op, "") or group.anchor.inside
        unknown = op != NMS_PLUGIN and (op not in KNOWN_OPS or bool(group.anchor.domain))
        if unknown:
            known = "its memory traffic counts, and the interval goes up to what it may compute"
            uncertain = f"operator {op} is unknown to the model: {known}"
        return KernelFeatures(
            name=group.anchor.name,
            op="Attention" if group.attention else op,
            nodes=tuple(node.name for node in group.nodes),
            precision=precision,
            launches=loop.launches if loop is not None else self.launches(group),
            products=tuple(work),
            attention=group.attention is not None,
            traffic=(
                *self.traffic(group, precision),
                *(loop.traffic(BYTES[precision]) if loop is not None else ()),
            ),
            element_flops=self._element_flops(group, bool(work)),
            uncertain=uncertain,
            resident_bytes=self.constant_bytes,
            table_bytes=max(
                (self.bytes_of(self.graph.tensor(name), precision) for name in self._tables(group)), default=0.0
            ),
            reduces=not work and any(node.op in self.reducing for node in group.nodes),
            anchors=self._anchors(group),
            repeats=group.anchor.repeats,
            possible_flops=self._possible_flops(group) if unknown else 0.0,
        )

    def _possible_flops(self, group: Group) -> float:
        """What an unknown operator may compute: each value from a whole axis of what goes in, twice, as attention."""
        axes = [size for name in group.anchor.inputs if name for size in self.graph.tensor(name).shape]
        written = sum(self.graph.tensor(name).numel for name in group.anchor.outputs if name)
        return 4.0 * written * max(axes, default=1)

    def products(self, group: Group) -> list[Product]:
        """The matrix products of a kernel."""
        return products(self.graph, group)

    def launches(self, group: Group) -> int:
        """Kernels that are really started for one."""
        op = group.anchor.op
        if op == "CumSum":
            return self._loop_steps(group)
        return TOPK_PASSES if op == "TopK" else 4 if self._passes(group) > 1 else group.launches

    def _passes(self, group: Group) -> int:
        """How often a kernel's data moves: a normalisation taken apart reads for mean, variance and result."""
        return 3 if group.anchor.op == "LayerNormalization" and not self.fused.rules.layer_norm else 1

    def _anchors(self, group: Group) -> float:
        """Candidates of the plugin: boxes are its first input, (B, anchors, 4)."""
        if group.anchor.op != NMS_PLUGIN:
            return 0.0
        return float(self.graph.tensor(group.anchor.inputs[0]).shape[1])

    def _element_flops(self, group: Group, has_products: bool) -> float:
        elements = sum(t.numel for t in (*group.inputs.values(), *group.outputs.values()))
        if group.anchor.op == "DeformConv":
            return 200.0 * elements
        if has_products:
            return 0.0
        plain = 4.0 * len(group.nodes) * elements
        return plain + sum(self.function_flops(n) + self._resized_flops(group, n) for n in group.nodes)

    def function_flops(self, node: Node) -> float:
        """What a node costs beyond plain arithmetic, for all its values."""
        return SPECIAL_FLOPS.get(node.op, 0.0) * self.graph.tensor(node.outputs[0]).numel

    def interpolated_nodes(self, group: Group) -> int:
        """How many nodes of an interpolating kernel count at each tap."""
        return min(MOST_NODES, len(group.nodes))

    def _resized_flops(self, group: Group, node: Node) -> float:
        """Interpolation computes where it reads, and reads (and makes anew) each of its inputs at every tap."""
        if node.op not in RESIZE_OPS or node.attribute("mode", "nearest") == "nearest":
            return 0.0
        target = self.graph.tensor(node.outputs[0])
        read = sum(t.numel < target.numel for name, t in group.inputs.items() if name not in self.constants)
        nodes = self.interpolated_nodes(group)
        return float(self.tap_flops * LINEAR_TAPS * max(1, read) * nodes * target.numel)

    def _loop_steps(self, group: Group) -> int:
        """Iterations of a CumSum, which TensorRT imports as a loop: the size of the summed axis."""
        source = self.graph.tensor(group.anchor.inputs[0])
        axis = self.graph.integers.get(group.anchor.inputs[1], (-1,))[0]
        return max(1, source.shape[axis]) if source.shape else 1

    def _kernel_precision(self, group: Group, work: list[Product]) -> Precision:
        if self.explicit_int8:
            return "int8" if group.quantized else ("fp32" if self.precision == "fp32" else "fp16")
        op = group.anchor.op
        weights = [name for name in group.anchor.inputs[1:2] if name in self.constants]
        depthwise = bool(work) and all(p.depthwise for p in work)
        eligible = bool(work) and bool(weights) and not depthwise and group.attention is None
        eligible = eligible and op not in RECURRENT_OPS and (op not in CONV_OPS or takes_int8(self.graph, group.anchor))
        if self.precision == "int8":
            return "int8" if eligible else "fp16"  # NVIDIA leaves attention products and depthwise in FP16
        return self.precision

    def bytes_of(self, tensor: Tensor, precision: Precision) -> float:
        """What a tensor takes in memory: floats in the precision of the kernel, unless the file has them smaller."""
        if not tensor.is_float:
            return float(tensor.stored_bytes())
        declared = tensor.stored_bytes() / tensor.numel if tensor.numel else BYTES[precision]
        return tensor.numel * float(min(BYTES[precision], declared))

    def traffic(self, group: Group, precision: Precision) -> list[Traffic]:
        """What a kernel moves, in all its passes."""
        return self._moved(group, precision) * self._passes(group)

    def reads(self, group: Group, size: float) -> list[Traffic]:
        """What reading one of its inputs takes, of so many bytes."""
        return [("read", size)]

    def _moved(self, group: Group, precision: Precision) -> list[Traffic]:
        found: list[Traffic] = []
        tables = self._tables(group)
        for name, tensor in group.inputs.items():
            reader = tables.get(name)
            if name in self.constants and reader is None:
                found.append(("constant", self.bytes_of(tensor, precision)))
            elif reader is None:
                found += self.reads(group, self.bytes_of(tensor, precision))
            elif reader.op == "GridSample":
                found.append(("sampled", self._sampled_bytes(reader, precision)))
            else:
                found.append(("gathered", self._gathered_bytes(reader, tensor, precision)))
        found += [("write", self.bytes_of(tensor, precision)) for tensor in group.outputs.values()]
        return found

    def _tables(self, group: Group) -> dict[str, Node]:
        """What is read at computed places, with the node that does it."""
        return {n.inputs[0]: n for n in group.nodes if n.op.startswith("Gather") or n.op == "GridSample"}

    def _gathered_bytes(self, node: Node, table: Tensor, precision: Precision) -> float:
        """Rows of a table in random order: whole sectors."""
        out = self.graph.tensor(node.outputs[0]).numel
        plain = node.op == "Gather"
        axis = int(node.attribute("axis", 0)) if plain else len(table.shape) - 1
        row = max(1, prod(table.shape[axis + 1 :])) if plain and axis >= 0 else 1
        element = self.bytes_of(table, precision) / max(1, table.numel)
        return out / row * ceil(row * element / SECTOR_BYTES) * SECTOR_BYTES

    def _sampled_bytes(self, node: Node, precision: Precision) -> float:
        taps = 1 if node.attribute("mode", "bilinear") == "nearest" else 4
        return taps * self.bytes_of(self.graph.tensor(node.outputs[0]), precision)
