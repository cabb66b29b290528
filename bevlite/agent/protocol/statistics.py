"""Statistics of latencies: percentiles, and the interval of the median without an assumption on its distribution."""

from __future__ import annotations

import math
from typing import Sequence

PERCENTILES = (50, 90, 95, 99)
_EXACT_UP_TO = 400


def median(values: Sequence[float]) -> float:
    """The middle value; the mean of the two middle ones where their number is even."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Sequence[float], p: float) -> float:
    """As trtexec computes it, so that both can be compared: the value at n - 1 - int((1 - p/100) n)."""
    ordered = sorted(values)
    # Rounded first: (1 - 0.9) * 10 is a little under 1 in binary.
    skipped = int(round((1 - p / 100) * len(ordered), 9))
    return ordered[max(len(ordered) - 1 - skipped, 0)]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """P50 (the median), P90, P95 and P99."""
    rest = {f"p{p}": percentile(values, p) for p in PERCENTILES[1:]}
    return dict(p50=median(values), **rest)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median from order statistics.

    Between the k-th smallest and the k-th largest value the median lies with a probability that follows from the
    binomial distribution alone. With fewer than six values no such pair reaches 95 %: all of them are the interval.
    """
    ordered = sorted(values)
    k = _rank(len(ordered))
    return ordered[k], ordered[len(ordered) - 1 - k]


def half_width(values: Sequence[float]) -> float:
    """Half of the interval of the median, over the median."""
    lower, upper = median_interval(values)
    middle = median(values)
    return (upper - lower) / 2 / middle if middle > 0 else math.inf


def spread(medians: Sequence[float]) -> float:
    """How far repeated runs are apart: (largest - smallest) / median."""
    return (max(medians) - min(medians)) / median(medians)


def drift(values: list[float]) -> float:
    """Median of the last third over that of the first third, minus one: a board that slows down within a run."""
    third = len(values) // 3
    return median(values[-third:]) / median(values[:third]) - 1 if third else 0.0


def _rank(n: int) -> int:
    """Index of the lower order statistic: the largest k with P(fewer than k + 1 of n below the median) <= 2.5 %."""
    if n > _EXACT_UP_TO:  # the normal approximation, rounded outwards
        return max(0, math.floor((n - 1.96 * math.sqrt(n)) / 2) - 1)
    total, k = 0, 0
    limit = 0.025 * 2**n
    for i in range(n):
        total += math.comb(n, i)
        if total > limit:
            break
        k = i
    return k
