"""IoU of BEV map segmentation by the rule of BEVFusion (Liu et al., ICRA 2023): the best threshold of each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from bevlite.data.classes import MAP_CLASSES

THRESHOLDS = (0.35, 0.40, 0.45, 0.50, 0.55, 0.60, 0.65)
"""Probabilities from which on a cell counts as found."""
HIT, FALSE, MISSED = 0, 1, 2


def map_counts(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cells of one sample that are hit, found falsely and missed.

    Args:
        probability: (classes, ny, nx) 0..1.
        truth: (classes, ny, nx), 1 where the class is.

    Returns:
        (classes, thresholds, 3) int64: hit, false, missed.
    """
    found = probability[:, None] >= np.array(THRESHOLDS, dtype=probability.dtype)[:, None, None]
    there = truth[:, None].astype(bool)
    pairs = (found & there, found & ~there, ~found & there)
    return np.stack([pair.sum(axis=(2, 3)) for pair in pairs], axis=-1)


def map_miou(counts: np.ndarray) -> dict[str, Any]:
    """`map_miou`, and IoU and threshold a class, from counts (classes, thresholds, 3) summed over samples.

    A class that is neither there nor found at some threshold has no IoU and is left out of the mean.
    """
    total = counts.sum(axis=2)
    iou = np.divide(counts[..., HIT], total, out=np.full(total.shape, np.nan), where=total > 0)
    known = {name: row for name, row in zip(MAP_CLASSES, iou, strict=True) if not np.isnan(row).all()}
    best = {name: float(np.nanmax(row)) for name, row in known.items()}
    return {
        "map_miou": float(np.mean(list(best.values()))) if best else 0.0,
        "map_per_class": {name: best.get(name) for name in MAP_CLASSES},
        "map_thresholds": {name: THRESHOLDS[int(np.nanargmax(row))] for name, row in known.items()},
    }
