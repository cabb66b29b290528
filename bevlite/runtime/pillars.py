"""Grouping points into pillars: the numpy reference of the kernel that feeds the LiDAR module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Coordinates = Literal["pillar", "absolute", "offsets"]
"""What the numbers of a point are (see bevlite.models.lidar.pillars.pfn)."""
NUMBERS: dict[Coordinates, int] = {"pillar": 5, "absolute": 5, "offsets": 10}
"""How many a point has."""


@dataclass(frozen=True)
class PillarGrid:
    """The pillar canvas in plain numbers (m, cells), its capacity, and what the numbers of a point are."""

    x_min: float
    y_min: float
    cell_m: float
    nx: int
    ny: int
    z_min: float
    z_max: float
    max_pillars: int
    max_points: int
    coordinates: Coordinates


def group_pillars(points: np.ndarray, grid: PillarGrid) -> tuple[np.ndarray, np.ndarray]:
    """Group points into pillars.

    The first `max_points` points of a pillar are kept, in the order given (newest sweep first). When there are more
    than `max_pillars` pillars, those farthest from the origin are dropped.

    Args:
        points: (K, 5) float: x, y, z in BEV metres, intensity 0..255, time lag in s.
        grid: the canvas.

    Returns:
        pillars (F, M, V) float32 with V <= max_pillars used slots, zero where a pillar has fewer points; F numbers a
        point (`NUMBERS`);
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
    features = _features(points[used], cell[used], grid)
    if grid.coordinates == "offsets":
        offsets = _from_the_mean(points[used, :3].astype(np.float64), slot_of_point[used])
        features = np.concatenate([features, offsets], axis=1)
    pillars = np.zeros((features.shape[1], grid.max_points, int(keep.sum())), dtype=np.float32)
    pillars[:, rank[used], slot_of_point[used]] = features.T
    return pillars, index.reshape(grid.ny, grid.nx)


def _centres(cell: np.ndarray, grid: PillarGrid) -> tuple[np.ndarray, np.ndarray]:
    x = grid.x_min + (cell % grid.nx + 0.5) * grid.cell_m
    y = grid.y_min + (cell // grid.nx + 0.5) * grid.cell_m
    return x, y


def _features(points: np.ndarray, cell: np.ndarray, grid: PillarGrid) -> np.ndarray:
    features = points.astype(np.float64)
    x, y = _centres(cell, grid)
    if grid.coordinates == "offsets":
        features = np.concatenate([features, features[:, :2] - np.stack([x, y], axis=1)], axis=1)
    elif grid.coordinates == "pillar":
        features[:, 0] = (features[:, 0] - x) / grid.cell_m
        features[:, 1] = (features[:, 1] - y) / grid.cell_m
        features[:, 2] = 2 * (features[:, 2] - grid.z_min) / (grid.z_max - grid.z_min) - 1
    else:
        features[:, 0] = (features[:, 0] - grid.x_min) / (grid.nx * grid.cell_m)
        features[:, 1] = (features[:, 1] - grid.y_min) / (grid.ny * grid.cell_m)
        features[:, 2] = (features[:, 2] - grid.z_min) / (grid.z_max - grid.z_min)
    features[:, 3] /= 255.0
    return features


def _from_the_mean(xyz: np.ndarray, slot: np.ndarray) -> np.ndarray:
    """(K, 3): from the mean of the points that are kept of its pillar to each point."""
    count = np.bincount(slot)
    means = [np.bincount(slot, weights=values)[slot] / count[slot] for values in xyz.T]
    offsets: np.ndarray = xyz - np.stack(means, axis=1)
    return offsets
