"""Which modules of one's own board are worth measuring next.

A board differs from the shipped coefficients by a factor for each kind of kernel. What a measurement tells of them
follows before it is taken: the logarithm of a latency moves with the logarithm of a factor by the share of the time
that the kind takes. The next module is the one after which all that is not measured would be known best on average
(A-optimal design, greedily; Chaloner and Verdinelli, Statistical Science 10, 1995).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bevlite.latency.calibration.fitting import NOISE_FLOOR, PRIOR_SPREAD
from bevlite.latency.coefficients import DEFAULT, Coefficients
from bevlite.latency.gpu.backend import TENSORRT, Backend
from bevlite.latency.gpu.ceilings import Ceilings
from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.onnx.kinds import KINDS

Array = NDArray[np.float64]


def shares(
    modules: Sequence[Sequence[KernelFeatures]], top: Ceilings, c: Coefficients = DEFAULT, backend: Backend = TENSORRT
) -> Array:
    """The share of each module's predicted time that each kind of kernel takes: (modules, kinds), rows sum to 1."""
    found = np.zeros((len(modules), len(KINDS)))
    for row, kernels in zip(found, modules, strict=True):
        table = backend.table(kernels)
        row += np.bincount(table.kind, weights=table.times(top, c).total, minlength=len(KINDS))
    return found / np.maximum(found.sum(axis=1, keepdims=True), 1e-12)


def spread(share: Array, measured: Sequence[int]) -> Array:
    """How uncertain each module's logarithm of latency is, once those at `measured` are known (standard deviations)."""
    known = share[list(measured)]
    belief = np.linalg.inv(known.T @ known / NOISE_FLOOR**2 + np.eye(share.shape[1]) / PRIOR_SPREAD**2)
    return np.asarray(np.sqrt(np.einsum("mk,kl,ml->m", share, belief, share)))


def most_telling(share: Array, count: int, measured: Sequence[int] = ()) -> list[int]:
    """The modules to measure next, the most telling first.

    Args:
        share: of `shares`, of every module that matters.
        count: how many.
        measured: those that have been.
    """
    chosen = list(measured)
    while len(chosen) < min(len(measured) + count, len(share)):
        left = [index for index in range(len(share)) if index not in chosen]
        chosen.append(min(left, key=lambda index: float((spread(share, [*chosen, index]) ** 2).sum())))
    return chosen[len(measured) :]
