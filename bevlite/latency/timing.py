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
from bevlite.latency.features import KernelFeatures

Array = NDArray[np.float64]
PARTIAL_BYTES = 2 * 4
"""A partial sum of a split reduction is written and read once in FP32."""


@dataclass(frozen=True)
class Ceilings:
    """What the board can do in one power mode: FLOP/us, bytes/us, us."""

    tensor_flop_per_us: float
    fma_flop_per_us: float
    read_bytes_per_us: float
    copy_bytes_per_us: float
    launch_us: float
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
        self.anchors = np.array([k.anchors for k in kernels], dtype=np.float64)
        self.element_flops = np.array([k.element_flops for k in kernels], dtype=np.float64)
        work = [(i, p, k) for i, k in enumerate(kernels) for p in k.products]
        self.owner = np.array([i for i, _, _ in work], dtype=np.int64)
        self.batch, self.m, self.n, self.k, self.flops = (
            np.array([float(getattr(p, name)) for _, p, _ in work]) for name in ("batch", "m", "n", "k", "flops")
        )
        self.depthwise = np.array([p.depthwise for _, p, _ in work], dtype=bool)
        self.convolution = np.array([p.convolution for _, p, _ in work], dtype=bool)
        self.attention = np.array([k.attention for _, _, k in work], dtype=bool)
        self.fp32 = np.array([k.precision == "fp32" for _, _, k in work], dtype=bool)
        self.int8 = np.array([k.precision == "int8" for _, _, k in work], dtype=bool)
        moved = [(i, role, size) for i, k in enumerate(kernels) for role, size in k.traffic]
        self.mover = np.array([i for i, _, _ in moved], dtype=np.int64)
        self.role = np.array([role for _, role, _ in moved], dtype="U8")
        self.bytes = np.array([size for _, _, size in moved], dtype=np.float64)

    def times(self, top: Ceilings, c: Coefficients) -> KernelTimes:
        """Price every kernel on a board."""
        traffic = self._traffic(top, c)
        memory = traffic / (top.read_bytes_per_us * c.dram_efficiency)
        flops = self.element_flops + self.anchors * c.nms_flop_per_anchor
        compute = self._sum(self.owner, self._product_us(top, c)) + flops / top.fma_flop_per_us
        launches = self.launches + (self.anchors > 0) * c.nms_launches
        has_product = np.bincount(self.owner, minlength=self.size) > 0
        launch = (launches * c.launch_share + has_product * c.product_fill) * top.launch_us
        body = np.maximum(compute, memory)
        bound = np.where(launch > body, 0, np.where(compute >= memory, 1, 2))
        return KernelTimes(launch + body, launch, compute, memory, traffic, bound)

    def _sum(self, owner: NDArray[np.int64], values: Array) -> Array:
        return np.bincount(owner, weights=values, minlength=self.size).astype(np.float64)

    def _traffic(self, top: Ceilings, c: Coefficients) -> Array:
        """Bytes of DRAM traffic; what the cache still holds counts by the cache's speed."""
        # Not a step: of a tensor about as large as its share of the cache, half is still there.
        held = 1 / (1 + (self.bytes / (top.l2_bytes * c.l2_resident_share)) ** 2)
        factor = 1 - held * (1 - 1 / c.l2_speedup)
        factor = np.where(self.role == "constant", 1.0, factor)
        factor = np.where(self.role == "write", factor * top.read_bytes_per_us / top.copy_bytes_per_us, factor)
        factor = np.where(self.role == "gathered", 1 / c.gather_efficiency, factor)
        factor = np.where(self.role == "sampled", 1 / c.grid_sample_efficiency, factor)
        return self._sum(self.mover, self.bytes * factor)

    def _product_us(self, top: Ceilings, c: Coefficients) -> Array:
        """Time of each product on the tensor cores: the quickest tile and split, in whole waves."""
        share = np.where(self.convolution, c.conv_efficiency, c.gemm_efficiency)
        share = np.where(self.attention, c.attention_efficiency, share)
        ratio = np.where(self.fp32, c.tf32_ratio, np.where(self.int8, c.int8_ratio, 1.0))
        per_sm = top.tensor_flop_per_us * share * ratio / top.sm_count
        step = np.where(self.int8, 32.0, 16.0)
        best = np.full(len(self.owner), np.inf)
        for tile in c.tiles:
            # A tile loads its edges and multiplies its area: the smaller, the more loads a product.
            efficiency = 1 / (1 + c.tile_load * (1 / tile.m + 1 / tile.n))
            count = self.batch * np.ceil(self.m / tile.m) * np.ceil(self.n / tile.n)
            for split in c.split_k:
                k = np.ceil(self.k / split / step) * step
                load = count * split / top.sm_count
                # A last, partly filled wave costs half of what it leaves empty.
                waves = np.maximum(1.0, (load + np.ceil(load)) / 2)
                time = waves * tile.m * tile.n * k * 2 / (per_sm * efficiency)
                if split > 1:
                    partial = PARTIAL_BYTES * split * self.batch * self.m * self.n
                    time = time + partial / (top.read_bytes_per_us * c.l2_speedup)
                    time = np.where(self.k < 2 * step * split, np.inf, time)
                best = np.minimum(best, time)
        slow = self.flops / (top.fma_flop_per_us * c.depthwise_efficiency)
        return np.where(self.depthwise, slow, best)
