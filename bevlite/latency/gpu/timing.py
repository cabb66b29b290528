"""The time of kernels: a roofline of compute and memory, with tiles, caches and fixed costs.

All kernels of a graph (or of many) are timed at once, as arrays, so that a calibration can try thousands of
coefficients. Times are microseconds, traffic is bytes, FLOPs are two a multiply-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.gpu.ceilings import Ceilings
from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.kinds import factor_name, kind_of
from bevlite.latency.gpu.tiles import ProductTable
from bevlite.latency.onnx.kinds import KINDS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KernelTimes:
    """Times of kernels in us, arrays of the same length; `bound` is 0 for launch, 1 for compute, 2 for memory."""

    total: Array
    launch: Array
    compute: Array
    memory: Array
    traffic: Array
    bound: NDArray[np.int64]


class KernelTable:
    """The features of kernels as arrays; a backend with coefficients of its own overrides what they change."""

    product_table: type[ProductTable] = ProductTable

    def __init__(self, kernels: Sequence[KernelFeatures]) -> None:
        self.size = len(kernels)
        self.repeats = np.array([k.repeats for k in kernels], dtype=np.float64)
        self.launches = np.array([k.launches for k in kernels], dtype=np.float64)
        self.anchors = np.array([k.anchors for k in kernels], dtype=np.float64)
        self.reduces = np.array([k.reduces for k in kernels], dtype=np.float64)
        self.element_flops = np.array([k.element_flops for k in kernels], dtype=np.float64)
        self.products = self.product_table(kernels)
        self.kind = np.array([KINDS.index(kind_of(k)) for k in kernels], dtype=np.int64)
        moved = [(i, role, size) for i, k in enumerate(kernels) for role, size in k.traffic]
        self.mover = np.array([i for i, _, _ in moved], dtype=np.int64)
        self.role = np.array([role for _, role, _ in moved], dtype="U8")
        self.bytes = np.array([size for _, _, size in moved], dtype=np.float64)
        self.resident = np.array([kernels[i].resident_bytes for i, _, _ in moved], dtype=np.float64)
        self.together = self.bytes
        """What is in the cache beside each tensor, itself included: here each counts for itself."""
        self.table = np.array([kernels[i].table_bytes for i, _, _ in moved], dtype=np.float64)

    def times(self, top: Ceilings, c: Coefficients) -> KernelTimes:
        """The times of all kernels on a board."""
        traffic = self._sum(self.mover, self.bytes * self.traffic_factors(top, c))
        memory = traffic / (top.read_bytes_per_us * c.dram_efficiency)
        flops = self.element_flops + self.anchors * c.nms_flop_per_anchor
        products, filling = self.products.times(top, c)
        owner = self.products.owner
        compute = self._sum(owner, products) + flops / top.fma_flop_per_us
        launches = self.launches + (self.anchors > 0) * c.nms_launches
        waiting = self._sum(owner, filling) + self.reduces * c.reduce_cycles / top.clock_mhz
        launch = launches * self.launch_share(c) * top.launch_us + waiting
        factor = np.array([getattr(c, factor_name(kind)) for kind in KINDS])[self.kind]
        launch, compute, memory = launch * factor, compute * factor, memory * factor
        body = self.body(compute, memory, c)
        bound = np.where(launch > body, 0, np.where(compute >= memory, 1, 2))
        n = self.repeats
        return KernelTimes((launch + body) * n, launch * n, compute * n, memory * n, traffic * n, bound)

    def launch_share(self, c: Coefficients) -> float | Array:
        """What a launch costs, as a share of the board's figure."""
        return c.launch_share

    def body(self, compute: Array, memory: Array, c: Coefficients) -> Array:
        """The time of the work itself: computing and moving data hide each other."""
        return np.maximum(compute, memory)

    def traffic_factors(self, top: Ceilings, c: Coefficients) -> Array:
        """What each byte costs, by its role and by what the cache still holds, against one that is read from memory."""
        # Not a step: of a tensor about as large as its share of the cache, half is still there. Constants are read
        # once a run, so they are there only where all of them stay.
        competing = np.where(self.role == "constant", self.resident, self.together)
        held = 1 / (1 + (competing / (top.l2_bytes * c.l2_resident_share)) ** c.l2_edge)
        factor = 1 - held * (1 - 1 / c.l2_speedup)
        factor = np.where(self.role == "write", factor * top.read_bytes_per_us / top.copy_bytes_per_us, factor)
        hit = 1 / (1 + (self.table / (top.l2_bytes * c.l2_resident_share)) ** 2)
        gathered = hit * c.gather_hit_cost + (1 - hit) / c.gather_efficiency
        factor = np.where(self.role == "gathered", gathered, factor)
        return np.where(self.role == "sampled", 1 / c.grid_sample_efficiency, factor)

    def _sum(self, owner: NDArray[np.int64], values: Array) -> Array:
        return np.bincount(owner, weights=values, minlength=self.size).astype(np.float64)
