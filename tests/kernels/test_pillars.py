"""Pillars on the emulated GPU where it is hard: crowds, cuts, nothing, numbers that are none; and against training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bevlite.data.lidar import accumulate_sweeps
from bevlite.kernels.pillars import pillar_step
from bevlite.runtime.pillars import group_pillars
from bevlite.runtime.sweeps import compensated
from tests.kernels.cases import PILLARS, Inputs, hold, sweeps
from tests.kernels.emulation import emulate, needs_compiler

STILL = {"poses": np.eye(4, dtype=np.float32)[None, :3], "lags": np.zeros(1, np.float32)}


def one_sweep(points: np.ndarray) -> Inputs:
    return {"points": points, "first": np.array([0, len(points)], np.int32), **STILL}


@needs_compiler
def test_against_training_s_points(tmp_path: Path) -> None:
    """The frame of the newest sweep as training accumulates it, from files; BLAS may round the last bit otherwise."""
    given = sweeps(3, 600, seed=4)
    parts = np.split(given["points"], given["first"][1:-1])
    files = [tmp_path / f"{k}.bin" for k in range(3)]
    for file, part in zip(files, parts, strict=True):
        part.tofile(file)
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3] = given["poses"]
    trained = accumulate_sweeps(files, poses, given["lags"])
    ours = compensated(given["points"], given["first"], given["poses"], given["lags"])
    np.testing.assert_allclose(ours, trained, atol=1e-5)
    found = emulate(pillar_step(PILLARS, 3, 2000).plan, given)
    used, index = group_pillars(ours, PILLARS)
    assert np.array_equal(found["pillar_index"][0], index)
    assert np.array_equal(found["pillars"][0, :, :, : used.shape[2]], used)
    assert not found["pillars"][0, :, :, used.shape[2] :].any() and found["pillar_report"][0] == used.shape[2]


@needs_compiler
@pytest.mark.parametrize("max_points", [1, 20, 32, 33, 70])
def test_crowded_cells(max_points: int) -> None:
    """Hundreds of points in a cell: the first in the order given are kept, beyond 32 in a second look at the list."""
    rng = np.random.default_rng(0)
    points = np.zeros((900, 5), np.float32)
    points[:, :2] = rng.choice([3.1, 3.6, 4.2], (900, 2))
    points[:, 2], points[:, 3] = rng.uniform(-1, 2, 900), rng.uniform(0, 255, 900)
    for coordinates in ("pillar", "offsets"):
        grid = dataclasses.replace(PILLARS, max_points=max_points, coordinates=coordinates)
        step = pillar_step(grid, 1, 1000)
        hold(emulate(step.plan, one_sweep(points), seed=5), step.reference(one_sweep(points)), 0)


@needs_compiler
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_cut_is_exact_where_room_just_ends(spare: int) -> None:
    given = sweeps(3, 1000, seed=9)
    occupied = int(pillar_step(PILLARS, 3, 4000).reference(given)["pillar_report"][0])
    step = pillar_step(dataclasses.replace(PILLARS, max_pillars=occupied + spare), 3, 4000)
    expected = step.reference(given)
    assert expected["pillar_report"].tolist() == [min(occupied, occupied + spare), max(0, -spare), 0]
    hold(emulate(step.plan, given), expected, 0)


@needs_compiler
def test_a_cut_over_many_buckets_with_equal_distances() -> None:
    """A square grid about the origin: cells come in eights of the same distance, and the first of them count."""
    grid = dataclasses.replace(PILLARS, x_min=-16.0, y_min=-16.0, nx=64, ny=64, max_pillars=700, max_points=2)
    given = sweeps(1, 4000, seed=2, spread=30.0)
    step = pillar_step(grid, 1, 5000)
    expected = step.reference(given)
    assert expected["pillar_report"][1] > 40
    hold(emulate(step.plan, given, seed=1), expected, 0)


@needs_compiler
def test_nothing_and_what_is_no_number() -> None:
    step = pillar_step(PILLARS, 1, 64)
    empty = one_sweep(np.zeros((0, 5), np.float32))
    assert not any(array.any() for array in emulate(step.plan, empty).values())
    hold(emulate(step.plan, empty), step.reference(empty), 0)
    points = np.tile(np.array([[3, 2, 0, 9, 0]], np.float32), (6, 1))
    points[0, 0], points[1, 1], points[2, 2], points[3, 3] = np.nan, np.inf, -np.inf, np.nan
    points[4, 0] = 3e30
    found = emulate(step.plan, one_sweep(points))
    assert found["pillar_report"].tolist() == [1, 0, 4]
    hold(found, step.reference(one_sweep(points)), 0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_points: found 2000 of 5 numbers; accepted: at most \d+ in the kernel"):
        pillar_step(dataclasses.replace(PILLARS, max_points=2000), 1, 64)
