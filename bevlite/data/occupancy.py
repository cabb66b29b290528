"""Occ3D-nuScenes labels (Tian et al., NeurIPS 2023): read, and moved along with BEV augmentation."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from bevlite.errors import DataError

SHAPE = (200, 200, 16)  # x, y, z
VOXEL_M = 0.4
ORIGIN_M = (-40.0, -40.0, -1.0)


def read_occupancy(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Semantics (200, 200, 16) uint8 and camera mask (200, 200, 16) bool, indexed [x, y, z] (raises DataError)."""
    try:
        with np.load(path, allow_pickle=False) as data:
            semantics, mask = data["semantics"], data["mask_camera"]
    except FileNotFoundError:
        raise DataError(f"{path}: the occupancy labels are missing") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: the occupancy labels cannot be read ({error})") from None
    if semantics.shape != SHAPE or mask.shape != SHAPE:
        raise DataError(f"{path}: found shapes {semantics.shape} and {mask.shape}; accepted: {SHAPE}")
    return semantics.astype(np.uint8), mask.astype(bool)


def transform_occupancy(semantics: np.ndarray, mask: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels in the frame that `matrix` (4, 4) from bevlite.data.augment leads to, by the nearest voxel.

    What comes from outside the labelled range is masked out.
    """
    if np.array_equal(matrix, np.eye(4)):
        return semantics, mask
    inverse = np.linalg.inv(matrix)
    axes = [ORIGIN_M[i] + (np.arange(SHAPE[i]) + 0.5) * VOXEL_M for i in range(3)]
    x, y = np.meshgrid(axes[0], axes[1], indexing="ij")
    # Rotation and mirroring are about z, so the plane and the height move separately.
    sx = inverse[0, 0] * x + inverse[0, 1] * y
    sy = inverse[1, 0] * x + inverse[1, 1] * y
    ix = np.floor((sx - ORIGIN_M[0]) / VOXEL_M + 1e-6).astype(np.int64)
    iy = np.floor((sy - ORIGIN_M[1]) / VOXEL_M + 1e-6).astype(np.int64)
    iz = np.floor((axes[2] * inverse[2, 2] - ORIGIN_M[2]) / VOXEL_M + 1e-6).astype(np.int64)
    inside = (ix >= 0) & (ix < SHAPE[0]) & (iy >= 0) & (iy < SHAPE[1])
    inside_z = (iz >= 0) & (iz < SHAPE[2])
    ix, iy, iz = ix.clip(0, SHAPE[0] - 1), iy.clip(0, SHAPE[1] - 1), iz.clip(0, SHAPE[2] - 1)
    from bevlite.data.voxels import gather  # compiled code, of which most commands need nothing

    moved, seen = np.empty(SHAPE, np.uint8), np.empty(SHAPE, np.bool_)
    gather(semantics, mask, ix, iy, iz, inside, inside_z, moved, seen)
    return moved, seen
