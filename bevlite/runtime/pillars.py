"""Grouping points into pillars: the numpy reference of the kernel that feeds the LiDAR module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Coordinates = Literal["pillar", "absolute", "offsets", "offsets_3d"]
"""What the numbers of a point are (see bevlite.models.lidar.pillars.pfn)."""
NUMBERS: dict[Coordinates, int] = {"pillar": 5, "absolute": 5, "offsets": 10, "offsets_3d": 11}
"""How many a point has."""


@dataclass(frozen=True)
class PillarGrid:
    """The pillar canvas in plain numbers (m, cells), its capacity, and what the numbers of a point are.

    origin_m: where x, y and z of `offsets` and `offsets_3d` count from, in the BEV frame.
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
    coordinates: Coordinates
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0)


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
    found = np.flatnonzero(inside)
    cell = iy[found] * grid.nx + ix[found]
    order = _sorting(cell)
    cell = cell[order]
    starts = np.flatnonzero(np.r_[True, cell[1:] != cell[:-1]]) if len(cell) else np.zeros(0, np.int64)
    counts = np.diff(np.r_[starts, len(cell)])
    occupied = cell[starts]
    keep = np.ones(len(starts), dtype=bool)
    if len(starts) > grid.max_pillars:
        x, y = _centres(occupied, grid)
        keep[np.argsort(x * x + y * y, kind="stable")[grid.max_pillars :]] = False
    slots = int(keep.sum())
    index = np.zeros(grid.ny * grid.nx, dtype=np.int32)
    index[occupied[keep]] = 1 + np.arange(slots, dtype=np.int32)
    # From here on only the points that are kept: in a dense cloud, half of them.
    kept = np.where(keep, np.minimum(counts, grid.max_points), 0)
    rank = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    used = np.repeat(starts, kept) + rank
    slot = np.repeat(np.cumsum(keep) - 1, kept)
    numbers = _numbers(points.take(found[order[used]], axis=0).T.astype(np.float64), cell[used], slot, grid)
    pillars = np.zeros((NUMBERS[grid.coordinates], grid.max_points * slots), dtype=np.float32)
    place = rank * slots + slot
    for row, values in zip(pillars, numbers):
        row[place] = values
    return pillars.reshape(len(pillars), grid.max_points, slots), index.reshape(grid.ny, grid.nx)


def _sorting(cell: np.ndarray) -> np.ndarray:
    """Indices (K,) that sort numbers from 0 up to 2 ** 48, equal ones in the order given.

    By 16 bits at a time, for which numpy has a radix sort: several times faster than by the whole numbers.
    """
    order = np.argsort(cell.astype(np.uint16), kind="stable")
    for shift in (16, 32):
        if len(cell) and cell.max() >> shift:
            order = order[np.argsort((cell >> shift).astype(np.uint16)[order], kind="stable")]
    return order


def _centres(cell: np.ndarray, grid: PillarGrid) -> tuple[np.ndarray, np.ndarray]:
    x = grid.x_min + (cell % grid.nx + 0.5) * grid.cell_m
    y = grid.y_min + (cell // grid.nx + 0.5) * grid.cell_m
    return x, y


def _numbers(points: np.ndarray, cell: np.ndarray, slot: np.ndarray, grid: PillarGrid) -> list[np.ndarray]:
    """The numbers of points (5, K) float64 in pillars by cell and slot (K,): one array (K,) a number, see `NUMBERS`."""
    x, y, z, intensity, lag = points
    more: list[np.ndarray] = []
    if grid.coordinates in ("offsets", "offsets_3d"):
        centre_x, centre_y = _centres(cell, grid)
        place = [values - origin for values, origin in zip((x, y, z), grid.origin_m)]
        upright = [z - (grid.z_min + grid.z_max) / 2] if grid.coordinates == "offsets_3d" else []
        more = [x - centre_x, y - centre_y, *upright, *_from_the_mean(place, slot)]
    elif grid.coordinates == "pillar":
        centre_x, centre_y = _centres(cell, grid)
        height = 2 * (z - grid.z_min) / (grid.z_max - grid.z_min) - 1
        place = [(x - centre_x) / grid.cell_m, (y - centre_y) / grid.cell_m, height]
    else:
        height = (z - grid.z_min) / (grid.z_max - grid.z_min)
        place = [(x - grid.x_min) / (grid.nx * grid.cell_m), (y - grid.y_min) / (grid.ny * grid.cell_m), height]
    return [*place, intensity / 255.0, lag, *more]


def _from_the_mean(place: Sequence[np.ndarray], slot: np.ndarray) -> list[np.ndarray]:
    """From the mean of the points that are kept of its pillar to each point: an array (K,) a coordinate."""
    count = np.bincount(slot)
    return [values - np.bincount(slot, weights=values)[slot] / count[slot] for values in place]
