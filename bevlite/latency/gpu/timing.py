"""The time of kernels: a roofline of compute and memory, with tiles, caches and fixed costs.

All kernels of a graph (or of many) are priced at once, as arrays, so that a calibration can try thousands of
coefficients. Times are microseconds, traffic is bytes, FLOPs are two a multiply-add.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.device import DeviceConfig
from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.kinds import KINDS, factor_name, kind_of
from bevlite.latency.gpu.tiles import ProductTable

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ceilings:
    """What the board can do in one power mode: FLOP/us, bytes/us, us."""

    tensor_flop_per_us: float
    fma_flop_per_us: float
    read_bytes_per_us: float
    copy_bytes_per_us: float
    launch_us: float
    clock_mhz: float
    sm_count: int
    l2_bytes: float


def ceilings(device: DeviceConfig, power_mode: str | None = None, cuda_graph: bool = True) -> Ceilings:
    """The ceilings of a board in a power mode: compute follows the GPU's clock, memory its own."""
    _, mode = device.mode(power_mode)
    _, measured = device.mode(None)
    clock = mode.gpu_clock_mhz / measured.gpu_clock_mhz
    compute = clock * mode.sm_count / measured.sm_count
    memory = mode.emc_clock_mhz / measured.emc_clock_mhz
    launch_us = device.launch_graph_us.value if cuda_graph else device.launch_stream_us.value
    return Ceilings(
        tensor_flop_per_us=device.gemm_16bit_tflops.value * 1e6 * compute,
        fma_flop_per_us=device.fma_fp32_tflops.value * 1e6 * compute,
        read_bytes_per_us=device.dram_read_gb_per_s.value * 1e3 * memory,
        copy_bytes_per_us=device.dram_copy_gb_per_s.value * 1e3 * memory,
        launch_us=launch_us / clock,
        clock_mhz=mode.gpu_clock_mhz,
        sm_count=mode.sm_count,
        l2_bytes=device.l2_cache_mb.value * 1e6,
    )


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
    """The features of kernels as arrays."""

    def __init__(self, kernels: Sequence[KernelFeatures]) -> None:
        self.size = len(kernels)
        self.launches = np.array([k.launches for k in kernels], dtype=np.float64)
        self.crowd = np.array([k.crowd for k in kernels], dtype=np.float64)
        self.anchors = np.array([k.anchors for k in kernels], dtype=np.float64)
        self.reduces = np.array([k.reduces for k in kernels], dtype=np.float64)
        self.element_flops = np.array([k.element_flops for k in kernels], dtype=np.float64)
        self.products = ProductTable(kernels)
        self.kind = np.array([KINDS.index(kind_of(k)) for k in kernels], dtype=np.int64)
        moved = [(i, role, size) for i, k in enumerate(kernels) for role, size in k.traffic]
        self.mover = np.array([i for i, _, _ in moved], dtype=np.int64)
        self.role = np.array([role for _, role, _ in moved], dtype="U8")
        self.bytes = np.array([size for _, _, size in moved], dtype=np.float64)
        self.resident = np.array([kernels[i].resident_bytes for i, _, _ in moved], dtype=np.float64)
        self.together = np.array([kernels[i].footprint_bytes or size for i, _, size in moved], dtype=np.float64)
        self.table = np.array([kernels[i].table_bytes for i, _, _ in moved], dtype=np.float64)

    def times(self, top: Ceilings, c: Coefficients) -> KernelTimes:
        """Price every kernel on a board."""
        traffic = self._traffic(top, c)
        memory = traffic / (top.read_bytes_per_us * c.dram_efficiency)
        flops = self.element_flops + self.anchors * c.nms_flop_per_anchor
        products, filling = self.products.times(top, c)
        owner = self.products.owner
        compute = self._sum(owner, products) + flops / top.fma_flop_per_us
        launches = self.launches + (self.anchors > 0) * c.nms_launches
        waiting = self._sum(owner, filling) + self.reduces * c.reduce_cycles / top.clock_mhz
        launch = launches * (c.launch_share + c.switch_share * self.crowd) * top.launch_us + waiting
        factor = np.array([getattr(c, factor_name(kind)) for kind in KINDS])[self.kind]
        launch, compute, memory = launch * factor, compute * factor, memory * factor
        larger, smaller = np.maximum(compute, memory), np.minimum(compute, memory)
        body = larger + c.exposed_share * smaller
        bound = np.where(launch > body, 0, np.where(compute >= memory, 1, 2))
        return KernelTimes(launch + body, launch, compute, memory, traffic, bound)

    def _sum(self, owner: NDArray[np.int64], values: Array) -> Array:
        return np.bincount(owner, weights=values, minlength=self.size).astype(np.float64)

    def _traffic(self, top: Ceilings, c: Coefficients) -> Array:
        """Bytes of DRAM traffic; what the cache still holds counts by the cache's speed."""
        # Not a step: of a tensor about as large as its share of the cache, half is still there. Constants are read
        # once a run, so they are there only where all of them stay.
        competing = np.where(self.role == "constant", self.resident, self.together)
        held = 1 / (1 + (competing / (top.l2_bytes * c.l2_resident_share)) ** c.l2_edge)
        factor = 1 - held * (1 - 1 / c.l2_speedup)
        factor = np.where(self.role == "write", factor * top.read_bytes_per_us / top.copy_bytes_per_us, factor)
        hit = 1 / (1 + (self.table / (top.l2_bytes * c.l2_resident_share)) ** 2)
        gathered = hit * c.gather_hit_cost + (1 - hit) / c.gather_efficiency
        factor = np.where(self.role == "gathered", gathered, factor)
        factor = np.where(self.role == "sampled", 1 / c.grid_sample_efficiency, factor)
        factor = np.where(self.role == "strided", 1 / c.strided_efficiency, factor)
        return self._sum(self.mover, self.bytes * factor)
