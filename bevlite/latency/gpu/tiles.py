"""The time of matrix products on tensor cores: tiles of the output, waves of tiles, operands loaded through the L2.

After the public descriptions of implicit GEMM (CUTLASS, cuDNN): a multiprocessor computes tiles of the output, each by
stepping through K. Which kernel a library or builder picks is not known, so the quickest tile counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.gpu.ceilings import Ceilings
from bevlite.latency.gpu.features import KernelFeatures

Array = NDArray[np.float64]
K_STEP, STEP_PARTS = 64, 4
"""Elements of K that a tile multiplies in one step of its pipeline, and in how many parts a short rest is taken."""
LARGE_TILE = 256 * 128
"""A multiprocessor holds one tile of this size, or more smaller ones (assumed)."""
ALONE = 0.4
"""Share of its edge that a multiprocessor loads in the time of one, when most others are idle (assumed)."""
FLASH_TILE = (128, 128)
"""Queries and keys of one tile of a fused attention."""
PARTIAL_BYTES = 2 * 4
"""A partial sum of a split reduction is written and read once in FP32."""


class ProductTable:
    """The matrix products of kernels as arrays; `owner` is the kernel that each belongs to.

    A backend with coefficients of its own overrides what they change.
    """

    def __init__(self, kernels: Sequence[KernelFeatures]) -> None:
        work = [(i, p, k) for i, k in enumerate(kernels) for p in k.products]
        self.owner = np.array([i for i, _, _ in work], dtype=np.int64)
        self.batch, self.m, self.n, self.k, self.flops = (
            np.array([float(getattr(p, name)) for _, p, _ in work]) for name in ("batch", "m", "n", "k", "flops")
        )
        self.depthwise, self.convolution, self.transposed, self.stem = (
            np.array([getattr(p, name) for _, p, _ in work], dtype=bool)
            for name in ("depthwise", "convolution", "transposed", "stem")
        )
        self.attention = np.array([k.attention for _, _, k in work], dtype=bool)
        self.fp32 = np.array([k.precision == "fp32" for _, _, k in work], dtype=bool)
        self.int8 = np.array([k.precision == "int8" for _, _, k in work], dtype=bool)

    def times(self, top: Ceilings, c: Coefficients) -> tuple[Array, Array]:
        """Time of each product on the tensor cores, and what filling its pipeline costs before.

        Of all tiles and splits of K the quickest is taken, in whole waves. A tile is bound by the rate of its
        multiprocessor, which it shares with others, or by its own latency: one step of K after the other, and for all
        tiles but the first of a multiprocessor filling the pipeline anew.
        """
        share = self.share(c)
        ratio = np.where(self.fp32, c.tf32_ratio, np.where(self.int8, c.int8_ratio, 1.0))
        per_sm = top.tensor_flop_per_us * share * ratio / top.sm_count
        step = np.where(self.int8, 2.0, 1.0) * K_STEP
        element = np.where(self.fp32, 4.0, np.where(self.int8, 1.0, 2.0))
        loaded = c.operand_bytes_per_cycle * top.clock_mhz
        operands_per_sm = np.where(self.convolution, loaded * c.conv_operand_share, loaded)
        clock_us = self.clock_us(top, c)
        step_us = c.k_step_cycles * self.step_clock_us(clock_us, c)
        fill_us = c.product_fill_cycles * clock_us
        whole = self.unsplit(c)
        best = np.full(len(self.owner), np.inf)
        for tile in c.tiles:
            # A tile multiplies its area and loads its edges: the smaller it is, the more loads a product.
            area_us = tile.m * tile.n * step * 2 / per_sm
            edge_us = (tile.m + tile.n) * step * element / operands_per_sm
            count = self.batch * np.ceil(self.m / tile.m) * np.ceil(self.n / tile.n)
            together = min(c.tiles_together, max(1, LARGE_TILE // (tile.m * tile.n)))
            for split in c.split_k:
                steps = np.ceil(self.k / split / step * STEP_PARTS) / STEP_PARTS
                load = count * split / top.sm_count
                # A last, partly filled wave costs half of what it leaves empty.
                waves = np.maximum(1.0, (load + np.ceil(load)) / 2)
                # Where multiprocessors are idle, the others have more of the L2's bandwidth.
                rate = steps * np.maximum(waves * area_us, np.where(load < 1, np.maximum(load, ALONE), waves) * edge_us)
                turns = np.ceil(load / together)
                time = np.maximum(rate, turns * steps * step_us + (turns - 1) * fill_us)
                if split > 1:
                    partial = PARTIAL_BYTES * split * self.batch * self.m * self.n
                    time = time + fill_us + top.launch_us + partial / (top.read_bytes_per_us * c.l2_speedup)
                    time = np.where((self.k < step * split) | whole, np.inf, time)
                time = np.where(self.attention & ((split > 1) | ((tile.m, tile.n) != FLASH_TILE)), np.inf, time)
                best = np.minimum(best, time)
        fma = self.flops / (top.fma_flop_per_us * c.depthwise_efficiency)
        return np.where(self.depthwise, fma, best), np.where(self.depthwise, fill_us / c.conv_latency, fill_us)

    def share(self, c: Coefficients) -> Array:
        """The share of the GEMM ceiling that each product comes to, tiles apart."""
        share = np.where(self.convolution, c.conv_efficiency, c.gemm_efficiency)
        share = np.where(self.stem, share * c.stem_efficiency, share)
        share = np.where(self.transposed, share * c.transposed_efficiency, share)
        return np.where(self.attention, c.attention_efficiency, share)

    def clock_us(self, top: Ceilings, c: Coefficients) -> Array:
        """A clock in us, longer where a tile waits longer than a plain matrix product's."""
        clock_us = np.where(self.convolution, c.conv_latency, 1.0) / top.clock_mhz
        return np.where(self.transposed, clock_us / c.transposed_efficiency, clock_us)

    def step_clock_us(self, clock_us: Array, c: Coefficients) -> Array:
        """The same for the steps of K alone: here no other than for filling."""
        return clock_us

    def unsplit(self, c: Coefficients) -> NDArray[np.bool_]:
        """The products whose kernels never split K: here none."""
        return np.zeros(len(self.owner), dtype=bool)
