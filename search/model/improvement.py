"""How much a network is expected to add to what is known, where its latency is known and its accuracy is not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

Points = Sequence[tuple[float, float]]
"""Accuracy and latency in ms of networks that are known."""


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float | np.ndarray) -> np.ndarray:
    """What a normal variable is expected to be above `best`, where it is above (Jones et al., 1998)."""
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    density: np.ndarray = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    improvement: np.ndarray = np.maximum(0.0, (mean - best) * ndtr(z) + deviation * density)
    return improvement


def staircase(known: Points, budget_ms: float, reference: float) -> tuple[np.ndarray, np.ndarray]:
    """The best accuracy up to each latency: from where on (S,) in ms, and the accuracy (S,) up to the next step.

    Args:
        known: networks.
        budget_ms: what is slower does not count.
        reference: accuracy below which nothing counts.
    """
    starts, heights = [0.0], [reference]
    for accuracy, latency in sorted(known, key=lambda point: (point[1], -point[0])):
        if latency <= budget_ms and accuracy > heights[-1]:
            starts.append(latency)
            heights.append(accuracy)
    return np.array(starts), np.array(heights)


def hypervolume(known: Points, budget_ms: float, reference: float) -> float:
    """Area that networks dominate, between an accuracy and a latency: accuracy times ms."""
    starts, heights = staircase(known, budget_ms, reference)
    widths = np.diff(np.append(starts, budget_ms))
    return float(((heights - reference) * widths).sum())


def expected_hypervolume(
    mean: np.ndarray, deviation: np.ndarray, latency_ms: np.ndarray, known: Points, budget_ms: float, reference: float
) -> np.ndarray:
    """What each network is expected to add to the hypervolume.

    With a known latency it is a sum over the steps of the front behind it: the width of a step times what is expected
    above its accuracy.

    Args:
        mean, deviation: of the accuracies (N,).
        latency_ms: (N,).
        known, budget_ms, reference: as in `staircase`.
    """
    starts, heights = staircase(known, budget_ms, reference)
    ends = np.append(starts[1:], budget_ms)
    found = np.zeros(len(mean))
    for start, end, height in zip(starts, ends, heights, strict=True):
        width = np.maximum(0.0, end - np.maximum(start, latency_ms))
        found += width * expected_improvement(mean, deviation, float(height))
    return found
