"""Parity: the exported modules through ONNX Runtime against torch, on real batches, output by output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bevlite.inference.contract import Network
from bevlite.tasks.contract import RawMap


@dataclass(frozen=True)
class OutputParity:
    """One output over all samples compared.

    largest: largest absolute difference (share of places that differ, for classes).
    relative: root mean square of the difference over that of the reference. agreement: cosine, or equal places.
    """

    name: str
    samples: int
    largest: float
    relative: float
    agreement: float
    kind: Literal["values", "classes"] = "values"


def compare(
    reference: Network, exported: Network, batches: Iterable[Mapping[str, Any]], maps: Sequence[RawMap]
) -> list[OutputParity]:
    """Run both on every batch and compare (an output that is not finite counts as an infinite difference)."""
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {raw.name: [] for raw in maps}
    for batch in batches:
        ours, theirs = reference(batch), exported(batch)
        for raw in maps:
            pairs[raw.name].append((ours[raw.name], theirs[raw.name]))
    return [_classes(raw, pairs[raw.name]) if raw.kind == "classes" else _values(raw, pairs[raw.name]) for raw in maps]


Pairs = Sequence[tuple[np.ndarray, np.ndarray]]


def _classes(raw: RawMap, pairs: Pairs) -> OutputParity:
    samples = sum(len(a) for a, _ in pairs)
    shares = [float((a != b).mean()) for a, b in pairs]
    share = sum(s * len(a) for s, (a, _) in zip(shares, pairs, strict=True)) / max(1, samples)
    return OutputParity(raw.name, samples, max(shares, default=0.0), share, 1 - share, "classes")


def _values(raw: RawMap, pairs: Pairs) -> OutputParity:
    sums, largest = np.zeros(4), 0.0
    for a, b in pairs:
        x, y = a.astype(np.float64), b.astype(np.float64)
        largest = max(largest, float(np.abs(x - y).max()) if np.isfinite(y).all() else float("inf"))
        sums += np.array([((x - y) ** 2).sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
    error, xx, yy, xy = sums
    relative = float(np.sqrt(error / xx)) if xx else float(error > 0)
    cosine = float(xy / np.sqrt(xx * yy)) if xx and yy else float(xx == yy)
    return OutputParity(raw.name, sum(len(a) for a, _ in pairs), largest, relative, cosine)
