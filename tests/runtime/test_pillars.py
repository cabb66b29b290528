from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from bevlite.runtime.pillars import PillarGrid, _sorting, group_pillars

GRID = PillarGrid(-10.0, -6.0, 0.5, 40, 24, -2.0, 3.0, 1000, 4, "pillar")


def cloud(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform([-11, -7, -3, 0, 0], [11, 7, 4, 255, 0.5], (count, 5)).astype(np.float32)


def slowly(points: np.ndarray, grid: PillarGrid) -> tuple[np.ndarray, np.ndarray]:
    """The same, point by point."""
    cells: dict[tuple[int, int], list[np.ndarray]] = {}
    for p in points.astype(np.float64):
        ix, iy = math.floor((p[0] - grid.x_min) / grid.cell_m), math.floor((p[1] - grid.y_min) / grid.cell_m)
        if 0 <= ix < grid.nx and 0 <= iy < grid.ny and grid.z_min <= p[2] < grid.z_max:
            cells.setdefault((iy, ix), []).append(p)

    def centre(cell: tuple[int, int]) -> tuple[float, float]:
        return grid.x_min + (cell[1] + 0.5) * grid.cell_m, grid.y_min + (cell[0] + 0.5) * grid.cell_m

    nearest = sorted(sorted(cells), key=lambda c: centre(c)[0] ** 2 + centre(c)[1] ** 2)[: grid.max_pillars]
    kept = sorted(nearest)
    numbers = {"offsets": 10, "offsets_3d": 11}.get(grid.coordinates, 5)
    pillars = np.zeros((numbers, grid.max_points, len(kept)))
    index = np.zeros((grid.ny, grid.nx), dtype=np.int32)
    for slot, cell in enumerate(kept):
        index[cell] = slot + 1
        inside = cells[cell][: grid.max_points]
        mean = [sum(p[axis] for p in inside) / len(inside) for axis in range(3)]
        for m, p in enumerate(inside):
            more: list[float] = []
            x, y, z, intensity, lag = p
            height = (z - grid.z_min) / (grid.z_max - grid.z_min)
            if grid.coordinates in ("offsets", "offsets_3d"):
                place = [x - grid.origin_m[0], y - grid.origin_m[1], z - grid.origin_m[2]]
                upright = [z - (grid.z_min + grid.z_max) / 2][: numbers - 10]
                more = [x - centre(cell)[0], y - centre(cell)[1], *upright, x - mean[0], y - mean[1], z - mean[2]]
            elif grid.coordinates == "pillar":
                place = [(x - centre(cell)[0]) / grid.cell_m, (y - centre(cell)[1]) / grid.cell_m, 2 * height - 1]
            else:
                width, depth = grid.nx * grid.cell_m, grid.ny * grid.cell_m
                place = [(x - grid.x_min) / width, (y - grid.y_min) / depth, height]
            pillars[:, m, slot] = [*place, intensity / 255, lag, *more]
    return pillars, index


@pytest.mark.parametrize("coordinates", ["pillar", "absolute", "offsets", "offsets_3d"])
@pytest.mark.parametrize(("count", "max_pillars", "max_points"), [(3000, 1000, 4), (3000, 300, 1), (40, 1000, 30)])
def test_against_a_loop(count: int, max_pillars: int, max_points: int, coordinates: Any) -> None:
    grid = dataclasses.replace(GRID, max_pillars=max_pillars, max_points=max_points, coordinates=coordinates)
    if coordinates == "offsets_3d":
        grid = dataclasses.replace(grid, origin_m=(0.94, -0.5, 1.84))
    points = cloud(count)
    pillars, index = group_pillars(points, grid)
    expected, expected_index = slowly(points, grid)
    assert pillars.dtype == np.float32 and index.dtype == np.int32
    assert np.array_equal(index, expected_index)
    np.testing.assert_allclose(pillars, expected, atol=1e-6)
    if not coordinates.startswith("offsets"):
        nearby = 0.5 if coordinates == "pillar" else 1.0
        assert np.abs(pillars[:2]).max() <= nearby + 1e-5 and np.abs(pillars).max() <= 1 + 1e-6


def test_the_first_points_of_a_pillar_are_kept() -> None:
    points = np.zeros((7, 5), dtype=np.float32)
    points[:, 3] = np.arange(7)  # all in one cell, told apart by intensity
    pillars, index = group_pillars(points, GRID)
    np.testing.assert_allclose(pillars[3, :, 0] * 255, [0, 1, 2, 3], atol=1e-4)
    assert index.max() == 1 and index.sum() == 1


def test_the_farthest_pillars_are_dropped() -> None:
    grid = dataclasses.replace(GRID, max_pillars=50)
    _, index = group_pillars(cloud(5000), grid)
    _, everything = group_pillars(cloud(5000), GRID)
    iy, ix = np.nonzero(everything)
    distance = np.hypot(-10 + (ix + 0.5) * 0.5, -6 + (iy + 0.5) * 0.5)
    kept = index[iy, ix] > 0
    assert kept.sum() == 50 and distance[kept].max() <= distance[~kept].min()


def test_borders_are_half_open_and_nothing_gives_nothing() -> None:
    inside, outside = [-10.0, -6.0, -2.0, 0, 0], [[10.0, 0, 0, 0, 0], [0, 6.0, 0, 0, 0], [0, 0, 3.0, 0, 0]]
    pillars, index = group_pillars(np.array([inside, *outside], dtype=np.float32), GRID)
    assert pillars.shape[2] == 1 and index[0, 0] == 1 and np.count_nonzero(index) == 1
    for nothing in (np.zeros((0, 5), dtype=np.float32), np.array(outside, dtype=np.float32)):
        pillars, index = group_pillars(nothing, GRID)
        assert pillars.shape == (5, 4, 0) and not index.any()
        ten, _ = group_pillars(nothing, dataclasses.replace(GRID, coordinates="offsets"))
        assert ten.shape == (10, 4, 0)


def test_cells_are_sorted_whatever_their_number() -> None:
    rng = np.random.default_rng(8)
    for count in (1 << 15, 1 << 20, 1 << 40):
        cell = rng.integers(0, count, 2000)
        cell[::3] = cell[0]
        np.testing.assert_array_equal(_sorting(cell), np.argsort(cell, kind="stable"))
    assert _sorting(np.zeros(0, np.int64)).shape == (0,)
