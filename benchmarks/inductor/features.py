"""What of a kernel of torch's compiler decides its time, where that is other than for an engine's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import cast

from bevlite.latency.gpu.features import KernelFeatures, Precision, Reader, Traffic
from bevlite.latency.gpu.gemm import Product
from bevlite.latency.gpu.placed import Group
from bevlite.latency.onnx.graph import Node
from bevlite.latency.onnx.operators import POOL_OPS

from .fusion import CompiledGroup
from .library import JOINED_NODES, LIBRARY_FLOPS, LIBRARY_TAP, footprint_bytes, library_products

CACHED_KERNELS = 10
"""Of so many kernels in a graph, half find their instructions in the cache (assumed)."""


@dataclass(frozen=True)
class CompiledKernel(KernelFeatures):
    """One kernel, with what the cache holds beside each of its tensors, and how crowded its instructions are."""

    footprint_bytes: float = 0.0
    """What the kernel reads and writes together; 0: each tensor counts for itself."""
    crowd: float = 1.0
    """How far the kernels of the whole graph drive each other's instructions out of the cache (0..1)."""


def crowded(kernels: Sequence[CompiledKernel]) -> list[KernelFeatures]:
    """The kernels of a whole graph, which drive each other's instructions out of the cache."""
    others = sum(kernel.launches for kernel in kernels) / CACHED_KERNELS
    return [replace(kernel, crowd=others**2 / (1 + others**2)) for kernel in kernels]


class CompiledReader(Reader):
    """Reads kernels off a graph that the compiler's rules have fused."""

    reducing = Reader.reducing | {"GlobalAveragePool", "GlobalMaxPool"}
    tap_flops = LIBRARY_TAP

    def kernels(self) -> list[KernelFeatures]:
        """All kernels, in order of execution."""
        return crowded([cast(CompiledKernel, kernel) for kernel in super().kernels()])

    def features(self, group: Group) -> CompiledKernel:
        """What decides the time of one kernel."""
        plain = super().features(group)
        return CompiledKernel(**vars(plain), footprint_bytes=self._footprint(group, plain.precision))

    def products(self, group: Group) -> list[Product]:
        """The matrix products of a kernel, as libraries run them."""
        return library_products(self.graph, group)

    def launches(self, group: Group) -> int:
        """Kernels that are really started for one."""
        known, own = super().launches(group), cast(CompiledGroup, group)
        return known if known > 1 else own.launches + own.copies

    def traffic(self, group: Group, precision: Precision) -> list[Traffic]:
        """What a kernel moves, with the copies of its output that further kernels make."""
        sizes = [self.bytes_of(tensor, precision) for tensor in group.outputs.values()]
        copied = [(role, size) for size in sizes for role in ("read", "write")] * cast(CompiledGroup, group).copies
        return super().traffic(group, precision) + copied

    def reads(self, group: Group, size: float) -> list[Traffic]:
        """What reading one of its inputs takes: some kernels read often, and values that do not lie together."""
        own = cast(CompiledGroup, group)
        return [("strided" if own.strided else "read", size)] * own.reads

    def function_flops(self, node: Node) -> float:
        """What a node costs beyond plain arithmetic, for all its values; of pools each element of the window."""
        window = prod(node.attribute("kernel_shape", [1])) if node.op in POOL_OPS else 1
        return LIBRARY_FLOPS.get(node.op, 0.0) * self.graph.tensor(node.outputs[0]).numel * window

    def interpolated_nodes(self, group: Group) -> int:
        """How many nodes of an interpolating kernel count at each tap."""
        joined = any(node.op == "Concat" for node in group.nodes)
        return JOINED_NODES if joined else super().interpolated_nodes(group)

    def _footprint(self, group: Group, precision: Precision) -> float:
        reads = {name: self.bytes_of(t, precision) for name, t in group.inputs.items() if name not in self.constants}
        writes = [self.bytes_of(t, precision) for t in group.outputs.values()]
        return footprint_bytes(self.graph, group, reads, writes)
