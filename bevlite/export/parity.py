"""Parity: the exported modules through ONNX Runtime against torch, on real batches, output by output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevlite.inference.contract import Network
from bevlite.runtime.query_sets import paired
from bevlite.tasks.contract import Kind, RawMap


@dataclass(frozen=True)
class OutputParity:
    """One output over all samples compared.

    largest: largest absolute difference (share of places that differ, for classes; of queries in units of each row).
    relative: root mean square of the difference over that of the reference. agreement: cosine, or equal places, or the
    share of queries that both have (see `bevlite.runtime.query_sets`).
    """

    name: str
    samples: int
    largest: float
    relative: float
    agreement: float
    kind: Kind = "values"


def compare(
    reference: Network, exported: Network, batches: Iterable[Mapping[str, Any]], maps: Sequence[RawMap]
) -> list[OutputParity]:
    """Run both on every batch and compare (an output that is not finite counts as an infinite difference)."""
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {raw.name: [] for raw in maps}
    for batch in batches:
        ours, theirs = reference(batch), exported(batch)
        for raw in maps:
            pairs[raw.name].append((ours[raw.name], theirs[raw.name]))
    return [_BY_KIND[raw.kind](raw, pairs[raw.name]) for raw in maps]


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


def _sets(raw: RawMap, pairs: Pairs) -> OutputParity:
    found = [paired(a, b) for a, b in pairs]
    row = _values(raw, [(a, b) for a, b, _ in found])
    samples = sum(len(a) for a, _ in pairs)
    share = sum(share * len(a) for (a, _), (_, _, share) in zip(pairs, found, strict=True)) / max(1, samples)
    return OutputParity(raw.name, samples, row.largest, row.relative, share, "set")


_BY_KIND: dict[Kind, Callable[[RawMap, Pairs], OutputParity]] = {
    "values": _values,
    "classes": _classes,
    "set": _sets,
}
