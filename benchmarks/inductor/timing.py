"""The time of kernels of torch's compiler, where that is other than for an engine's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.gpu.ceilings import Ceilings
from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.tiles import ProductTable
from bevlite.latency.gpu.timing import KernelTable

from .coefficients import CompilerCoefficients
from .features import CompiledKernel
from .library import MisalignedProduct

Array = NDArray[np.float64]


class CompiledProducts(ProductTable):
    """Matrix products of cuDNN and cuBLAS. All coefficients are `CompilerCoefficients`."""

    def __init__(self, kernels: Sequence[KernelFeatures]) -> None:
        super().__init__(kernels)
        self.misaligned = np.array([isinstance(p, MisalignedProduct) for k in kernels for p in k.products], dtype=bool)

    def share(self, c: Coefficients) -> Array:
        """The share of the GEMM ceiling: rows that are not padded come to less of it."""
        share = super().share(c)
        return np.where(self.misaligned, share * _own(c).misaligned_efficiency, share)

    def clock_us(self, top: Ceilings, c: Coefficients) -> Array:
        """A clock in us, longer where a tile waits longer: rows that are not padded do."""
        clock_us = super().clock_us(top, c)
        return np.where(self.misaligned, clock_us / _own(c).misaligned_efficiency, clock_us)

    def step_clock_us(self, clock_us: Array, c: Coefficients) -> Array:
        """The same for the steps of K alone: those of an image wait longer."""
        return np.where(self.stem, clock_us * _own(c).stem_latency, clock_us)

    def unsplit(self, c: Coefficients) -> NDArray[np.bool_]:
        """Kernels of an image that wait at every step do not split K either."""
        return self.stem & (_own(c).stem_latency > 1)


class CompiledTable(KernelTable):
    """Kernels of the compiler as arrays. All coefficients are `CompilerCoefficients`."""

    product_table = CompiledProducts

    def __init__(self, kernels: Sequence[KernelFeatures]) -> None:
        super().__init__(kernels)
        own = [cast(CompiledKernel, kernel) for kernel in kernels]
        self.crowd = np.array([kernel.crowd for kernel in own], dtype=np.float64)
        footprints = np.array([kernel.footprint_bytes for kernel in own], dtype=np.float64)[self.mover]
        self.together = np.where(footprints > 0, footprints, self.bytes)

    def launch_share(self, c: Coefficients) -> Array:
        """What a launch costs: more where instructions lie in no cache any more."""
        return c.launch_share + _own(c).switch_share * self.crowd

    def body(self, compute: Array, memory: Array, c: Coefficients) -> Array:
        """The time of the work itself: a share of the shorter of computing and moving data is not hidden."""
        return super().body(compute, memory, c) + _own(c).exposed_share * np.minimum(compute, memory)

    def traffic_factors(self, top: Ceilings, c: Coefficients) -> Array:
        """What each byte costs: those that do not lie together more."""
        return np.where(self.role == "strided", 1 / _own(c).strided_efficiency, super().traffic_factors(top, c))


def _own(c: Coefficients) -> CompilerCoefficients:
    return cast(CompilerCoefficients, c)
