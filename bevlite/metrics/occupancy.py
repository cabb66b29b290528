"""Occupancy mIoU by the rule of Occ3D-nuScenes: one confusion matrix over the split, voxels that a camera sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from bevlite.data.classes import OCCUPANCY_CLASSES

CLASS_COUNT = len(OCCUPANCY_CLASSES)
FREE = OCCUPANCY_CLASSES.index("free")


class OccupancyConfusion:
    """The confusion matrix (truth, prediction) of a split, 18 x 18 voxels."""

    def __init__(self) -> None:
        self.matrix = np.zeros((CLASS_COUNT, CLASS_COUNT), dtype=np.int64)

    def add(self, predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> None:
        """Count one sample; all (200, 200, 16) indexed [x, y, z], labels of 18 and more are ignored."""
        use = mask & (truth < CLASS_COUNT)
        pairs = CLASS_COUNT * truth[use].astype(np.int64) + predicted[use].astype(np.int64)
        self.matrix += np.bincount(pairs, minlength=CLASS_COUNT**2).reshape(CLASS_COUNT, CLASS_COUNT)

    def summary(self) -> dict[str, Any]:
        """`occ_miou` over the 17 classes other than free (absent ones left out), and IoU a class; 0..1."""
        return miou(self.matrix)


def miou(matrix: np.ndarray) -> dict[str, Any]:
    """IoU a class and their mean, from a confusion matrix (18, 18)."""
    hit = np.diag(matrix).astype(np.float64)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - hit
    iou = np.divide(hit, union, out=np.full(CLASS_COUNT, np.nan), where=union > 0)
    known = iou[:FREE][~np.isnan(iou[:FREE])]
    return {
        "occ_miou": float(known.mean()) if len(known) else 0.0,
        "occ_per_class": {
            name: None if np.isnan(value) else float(value) for name, value in zip(OCCUPANCY_CLASSES, iou, strict=True)
        },
    }
