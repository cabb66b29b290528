"""LiDAR points: sweeps read, compensated to the keyframe and accumulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bevlite.errors import DataError
from bevlite.runtime.depth import CLOSEST_M
from bevlite.runtime.sweeps import EGO_RADIUS_M


def read_points(path: Path) -> np.ndarray:
    """One nuScenes point file: (K, 5) float32 x, y, z (m, sensor frame), intensity, ring.

    Raises:
        DataError: the file is missing, empty, truncated, or holds NaN or infinity.
    """
    try:
        raw = np.fromfile(path, dtype=np.float32)
    except FileNotFoundError:
        raise DataError(f"{path}: the point file is missing") from None
    except OSError as error:
        raise DataError(f"{path}: the point file cannot be read ({error.strerror})") from None
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the point file is empty")
    if raw.size % 5 or path.stat().st_size % 20:
        raise DataError(
            f"{path}: the point file is truncated ({path.stat().st_size} bytes; accepted: a multiple of 20)"
        )
    points = raw.reshape(-1, 5)
    if not np.isfinite(points).all():
        raise DataError(f"{path}: the point file holds NaN or infinite values")
    return points


def accumulate_sweeps(files: list[Path], to_bev: np.ndarray, lag_s: np.ndarray) -> np.ndarray:
    """Sweeps as one cloud, newest first.

    Args:
        files: K point files, the keyframe first.
        to_bev: (K, 4, 4), sensor frame of each sweep to the ego frame of the keyframe.
        lag_s: (K,) s since each sweep.

    Returns:
        (P, 5) float32: x, y, z in m, intensity, lag in s.
    """
    sweeps = []
    for file in files:
        points = read_points(file)
        near = (np.abs(points[:, 0]) < EGO_RADIUS_M) & (np.abs(points[:, 1]) < EGO_RADIUS_M)
        sweeps.append(points.take(np.flatnonzero(~near), axis=0))
    cloud = np.empty((sum(map(len, sweeps)), 5), dtype=np.float32)
    start = 0
    for points, matrix, lag in zip(sweeps, to_bev.astype(np.float32), lag_s, strict=True):
        part = cloud[start : start + len(points)]
        turned = points[:, :3] @ matrix[:3, :3].T
        for axis in range(3):
            np.add(turned[:, axis], matrix[axis, 3], out=part[:, axis])
        part[:, 3] = points[:, 3]
        part[:, 4] = lag
        start += len(points)
    return cloud


def depth_map(points: np.ndarray, bev_to_pixel: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The nearest LiDAR depth in every patch of a feature map, to supervise a depth distribution.

    Args:
        points: (P, 3) BEV metres.
        bev_to_pixel: (N, 4, 4), BEV metres to (u * depth, v * depth, depth, 1).
        size: (height, width) px of the network's image.
        stride: px a feature step.

    Returns:
        (N, height / stride, width / stride) float32 in m, 0 where no point falls.
    """
    from bevlite.data.nearest import nearest  # compiled code, of which most commands need nothing

    maps = np.full((len(bev_to_pixel), size[0] // stride, size[1] // stride), np.inf, dtype=np.float32)
    for depths, matrix in zip(maps, bev_to_pixel.astype(np.float32), strict=True):
        nearest(points @ matrix[:3, :3].T, matrix[:3, 3], np.float32(CLOSEST_M), np.float32(stride), depths)
    maps[np.isinf(maps)] = 0
    return maps
