"""Classes of voxels and of map cells from logits: the numpy reference of the kernels on the board."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def probability(logits: np.ndarray) -> np.ndarray:
    """The logistic function in float64."""
    with np.errstate(over="ignore"):
        found: np.ndarray = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return found


def cut_of(threshold: float) -> float:
    """The smallest float32 logit whose `probability` is above a threshold: comparing logits then says the same.

    Not a number where no logit's is: every comparison then says no.
    """
    low, high = -(1 << 31), (1 << 31) - 1  # of float32 numbered in their order
    while low < high:
        middle = (low + high) // 2
        if probability(_numbered(middle)) > threshold:
            high = middle
        else:
            low = middle + 1
    return float(_numbered(low)) if probability(_numbered(low)) > threshold else float("nan")


def _numbered(number: int) -> np.ndarray:
    """The float32 of a number in the order of all, from -(2 ** 31) on; beyond the infinities, these."""
    bits = number if number >= 0 else (-1 - number) | 0x80000000
    if bits & 0x7FFFFFFF > 0x7F800000:
        bits = (bits & 0x80000000) | 0x7F800000
    return np.array(bits, np.uint32).view(np.float32)


def best_class(logits: np.ndarray) -> np.ndarray:
    """The class (voxels...) uint8 whose logit (C, voxels...) is highest; the first of equals, as of not a number."""
    return logits.argmax(axis=0).astype(np.uint8)


def map_classes(logits: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Whether each class is there (C, ny, nx) uint8, from logits (C, ny, nx) and a probability a class."""
    above = [probability(row) > threshold for row, threshold in zip(logits, thresholds)]
    return np.array(above, dtype=np.uint8)
