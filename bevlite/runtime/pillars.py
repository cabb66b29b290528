"""Grouping points into pillars: the numpy reference of the kernel that feeds the LiDAR module."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PillarGrid:
    """The pillar canvas in plain numbers (m, cells), and its capacity.

    relative: point coordinates relative to the pillar (see bevlite.models.lidar.pillars.pfn).
    """

    x_min: float
    y_min: float
    cell_m: float
    nx: int
    ny: int
    z_min: float
    z_max: float
    max_pillars: int
    max_points: int
    relative: bool


def group_pillars(points: np.ndarray, grid: PillarGrid) -> tuple[np.ndarray, np.ndarray]:
    """Group points into pillars.

    The first `max_points` points of a pillar are kept, in the order given (newest sweep first). When there are more
    than `max_pillars` pillars, those farthest from the origin are dropped.

    Args:
        points: (K, 5) float: x, y, z in BEV metres, intensity 0..255, time lag in s.
        grid: the canvas.

    Returns:
        pillars (5, M, V) float32 with V <= max_pillars used slots, zero where a pillar has fewer points;
        index (ny, nx) int32: 0 for an empty cell, slot + 1 otherwise.
    """
    ix = np.floor((points[:, 0] - grid.x_min) / grid.cell_m).astype(np.int64)
    iy = np.floor((points[:, 1] - grid.y_min) / grid.cell_m).astype(np.int64)
    inside = (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny)
    inside &= (points[:, 2] >= grid.z_min) & (points[:, 2] < grid.z_max)
    points, cell = points[inside], (iy * grid.nx + ix)[inside]
    order = np.argsort(cell, kind="stable")
    points, cell = points[order], cell[order]
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]]) if len(cell) else np.zeros(0, np.int64)
    counts = np.diff(np.r_[starts, len(cell)])
    occupied = cell[starts]
    keep = np.ones(len(starts), dtype=bool)
    if len(starts) > grid.max_pillars:
        x, y = _centres(occupied, grid)
        keep[np.argsort(x * x + y * y, kind="stable")[grid.max_pillars :]] = False
    slot = np.where(keep, np.cumsum(keep) - 1, -1)
    index = np.zeros(grid.ny * grid.nx, dtype=np.int32)
    index[occupied[keep]] = slot[keep] + 1
    rank = np.arange(len(cell)) - np.repeat(starts, counts)
    slot_of_point = np.repeat(slot, counts)
    used = (rank < grid.max_points) & (slot_of_point >= 0)
    pillars = np.zeros((5, grid.max_points, int(keep.sum())), dtype=np.float32)
    pillars[:, rank[used], slot_of_point[used]] = _features(points[used], cell[used], grid).T
    return pillars, index.reshape(grid.ny, grid.nx)


def _centres(cell: np.ndarray, grid: PillarGrid) -> tuple[np.ndarray, np.ndarray]:
    x = grid.x_min + (cell % grid.nx + 0.5) * grid.cell_m
    y = grid.y_min + (cell // grid.nx + 0.5) * grid.cell_m
    return x, y


def _features(points: np.ndarray, cell: np.ndarray, grid: PillarGrid) -> np.ndarray:
    features = points.astype(np.float64)
    if grid.relative:
        x, y = _centres(cell, grid)
        features[:, 0] = (features[:, 0] - x) / grid.cell_m
        features[:, 1] = (features[:, 1] - y) / grid.cell_m
        features[:, 2] = 2 * (features[:, 2] - grid.z_min) / (grid.z_max - grid.z_min) - 1
    else:
        features[:, 0] = (features[:, 0] - grid.x_min) / (grid.nx * grid.cell_m)
        features[:, 1] = (features[:, 1] - grid.y_min) / (grid.ny * grid.cell_m)
        features[:, 2] = (features[:, 2] - grid.z_min) / (grid.z_max - grid.z_min)
    features[:, 3] /= 255.0
    return features.astype(np.float32)
