"""How sure a prediction is: an 80 % interval from cross-validation, wider for what the data never covered, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bevlite.latency.coefficients import Coefficients
from bevlite.latency.gpu.features import KernelFeatures
from bevlite.latency.gpu.kernels import KernelCost

WINDOW_TOKENS = range(16, 145)
"""Tokens of a window (49 or 64 in Swin)."""


@dataclass(frozen=True)
class Interval:
    """Where the truth lies in four of five cases, and why that wide."""

    lower_us: float
    upper_us: float
    reasons: tuple[str, ...]


def interval(features: Sequence[KernelFeatures], kernels: Sequence[KernelCost], c: Coefficients) -> Interval:
    """The interval of the sum of kernels. Errors of one model go the same way, so widths add up."""
    total = sum(kernel.latency_us for kernel in kernels)
    int8 = any(kernel.precision == "int8" for kernel in kernels)
    below, above = (c.band_below_int8, c.band_above_int8) if int8 else (c.band_below, c.band_above)
    words = [f"interval: -{below:.0%} to +{above:.0%} (80 %), from predicting families that the fit had not seen"]
    windowed = any(is_windowed(kernel) for kernel in features)
    lower = upper = 0.0
    reasons: dict[str, tuple[int, float]] = {}
    for feature, kernel in zip(features, kernels, strict=True):
        low, high, reason = below, above, kernel.uncertain
        if reason:
            low, high = c.uncertain_band / 2, c.uncertain_band
        elif windowed and not any(p.convolution for p in feature.products):
            low, high = c.windowed_band, max(above, c.windowed_band)
            reason = f"windowed attention: no trustworthy Orin row; +-{c.windowed_band:.0%}"
        lower += kernel.latency_us * (1 - low)
        upper += kernel.latency_us * (1 + high) + kernel.possible_us
        if reason:
            count, spent = reasons.get(reason, (0, 0.0))
            reasons[reason] = count + 1, spent + kernel.latency_us
    for reason, (count, spent) in reasons.items():
        words.append(f"interval widened: {reason} ({count} kernels, {spent / (total or 1):.0%} of the time)")
    return Interval(lower, upper, tuple(words))


def is_windowed(kernel: KernelFeatures) -> bool:
    """Whether a kernel multiplies the many small matrices of windowed attention (windows x heads of them)."""
    return any(p.m in WINDOW_TOKENS and not p.convolution and p.batch >= 2 * p.m for p in kernel.products)
