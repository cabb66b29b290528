"""Parity: the exported modules through ONNX Runtime against torch, on real batches, output by output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevlite.evaluation.networks import Network


@dataclass(frozen=True)
class OutputParity:
    """One output over all samples compared.

    largest: largest absolute difference (fraction of voxels that differ, for occupancy classes).
    relative: root mean square of the difference over that of the reference. agreement: cosine, or equal voxels.
    """

    name: str
    samples: int
    largest: float
    relative: float
    agreement: float


def compare(reference: Network, exported: Network, batches: Iterable[Mapping[str, Any]]) -> list[OutputParity]:
    """Run both on every batch and compare (an output that is not finite counts as an infinite difference)."""
    sums: dict[str, np.ndarray] = {}
    largest: dict[str, float] = {}
    samples = 0
    for batch in batches:
        ours, theirs = reference(batch), exported(batch)
        samples += len(batch["row"])
        for name, a in ours.items():
            b = theirs[name]
            if name == "occupancy":
                different = float((a != b).mean())
                largest[name] = max(largest.get(name, 0.0), different)
                sums[name] = sums.get(name, np.zeros(4)) + np.array([different * len(a), 0, 0, 0])
                continue
            x, y = a.astype(np.float64), b.astype(np.float64)
            gap = float(np.abs(x - y).max()) if np.isfinite(y).all() else float("inf")
            largest[name] = max(largest.get(name, 0.0), gap)
            products = np.array([((x - y) ** 2).sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
            sums[name] = sums.get(name, np.zeros(4)) + products
    report = []
    for name, (error, xx, yy, xy) in sums.items():
        if name == "occupancy":
            share = error / max(1, samples)
            report.append(OutputParity(name, samples, largest[name], share, 1 - share))
        else:
            relative = float(np.sqrt(error / xx)) if xx else float(error > 0)
            cosine = float(xy / np.sqrt(xx * yy)) if xx and yy else float(xx == yy)
            report.append(OutputParity(name, samples, largest[name], relative, cosine))
    return report
