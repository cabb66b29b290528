"""Steps with inputs for them: what runs in emulation here runs on a GPU where there is one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bevlite.kernels.classes import best_class_step, map_step, voxel_step
from bevlite.kernels.columns import columns_step
from bevlite.kernels.depth import depth_step
from bevlite.kernels.detection import decoding_step, query_step
from bevlite.kernels.geometry import camera_inputs, lookup_step, slots_step
from bevlite.kernels.images import image_step
from bevlite.kernels.pillars import pillar_step
from bevlite.kernels.pooling import pooling_step, pose_inputs
from bevlite.kernels.step import Step
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.columns import column_levels
from bevlite.runtime.decoding import BoxDecoding
from bevlite.runtime.pillars import PillarGrid
from bevlite.runtime.pooling import CellGrid, Frustum, frustum_cells, tree_levels
from bevlite.runtime.rebatching import needed_slots

Inputs = dict[str, np.ndarray]
GRID = CellGrid(-25.6, -25.6, 0.8, 64, 64, -5.0, 3.0)
IMAGE = (64, 176)
FRUSTUM = Frustum(tuple(np.arange(1.0, 30.0, 1.5)), 4, 11, 16)
PILLARS = PillarGrid(-10.0, -6.0, 0.5, 40, 24, -2.0, 3.0, 1000, 4, "pillar")
SIX = ((0,), (1, 2), (3, 4), (5,), (6, 7), (8, 9))
DECODING = BoxDecoding(-51.2, -51.2, 0.8, SIX, 100)


class Case(NamedTuple):
    """A step, inputs, and how far floats may be off (0: not at all)."""

    step: Step
    inputs: Inputs
    tolerance: float = 0.0


def rig(seed: int) -> np.ndarray:
    """The nominal rig, turned and moved a little: (6, 4, 4)."""
    rng = np.random.default_rng(seed)
    moved = nominal_pixel_to_bev(*IMAGE).copy()
    for matrix in moved:
        turn = np.eye(4)
        yaw, pitch = rng.normal(0, 0.02, 2)
        turn[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
        turn[2, 0] = pitch
        turn[:3, 3] = rng.normal(0, 0.05, 3)
        matrix[:] = turn @ matrix
    return moved


def sweeps(count: int, each: int, seed: int = 0, spread: float = 12.0) -> Inputs:
    """Raw points of sweeps, with some on the car itself."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(each // 2, each + 1, count)
    points = rng.normal(0, [spread, spread / 2, 1.5, 60, 0], (sizes.sum(), 5)).astype(np.float32)
    points[:, 3] = np.clip(np.abs(points[:, 3]), 0, 255)
    poses = np.zeros((count, 3, 4), np.float32)
    for k, pose in enumerate(poses):
        angle = 0.01 * k
        pose[:, :3] = [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        pose[:, 3] = 0.9 + 0.5 * k, 0.01 * k, 1.8
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return {"points": points, "first": first, "poses": poses, "lags": (0.05 * np.arange(count)).astype(np.float32)}


def maps(seed: int, ny: int, nx: int, spread: float = 2.0) -> Inputs:
    rng = np.random.default_rng(seed)
    heat = rng.normal(-3.5, spread, (1, 10, ny, nx)).astype(np.float32)
    return {"scores_in": heat, "values_in": rng.normal(0, 0.7, (1, 60, ny, nx)).astype(np.float32)}


def queries(seed: int, count: int) -> Inputs:
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (1, 15, count)).astype(np.float32)
    rows[0, 0], rows[0, 1:3] = rng.integers(0, 10, count), rng.integers(0, 128, (2, count))
    rows[0, 4] = rng.random(count)
    rows[0, 7, :3] = np.nan, np.inf, 0
    return {"queries_in": rows}


def pooling_case(seed: int, chunk: int, spare: int = 8) -> Case:
    pose = rig(seed)
    needed = tree_levels(frustum_cells(FRUSTUM, GRID, pose), chunk)
    room = [rows + spare for rows in needed] + [8]
    return Case(pooling_step(FRUSTUM, GRID, 6, chunk, room), pose_inputs(pose, GRID, FRUSTUM))


def columns_case(seed: int, chunk: int, spare: int = 3) -> Case:
    pose = rig(seed)
    needed = column_levels(frustum_cells(FRUSTUM, GRID, pose), chunk)
    room = [rows + spare for rows in needed] + [8]
    return Case(columns_step(FRUSTUM, GRID, 6, chunk, room), pose_inputs(pose, GRID, FRUSTUM))


def cases() -> Iterator[tuple[str, Case]]:
    """A case of every step, small enough for a CPU."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 90, 160, 3), dtype=np.uint8)
    yield "images", Case(image_step((90, 160), (32, 88), 2), {"images": images})
    frames = rng.integers(0, 256, (2, 135, 160), dtype=np.uint8)
    yield "nv12", Case(image_step((90, 160), (32, 88), 2, "nv12"), {"images": frames})
    for coordinates in ("pillar", "absolute", "offsets", "offsets_3d"):
        grid = dataclasses.replace(PILLARS, coordinates=coordinates, origin_m=(0.9, 0.0, 1.8))
        yield f"pillars, {coordinates}", Case(pillar_step(grid, 3, 4000), sweeps(3, 1000))
    grid = dataclasses.replace(PILLARS, max_pillars=100)
    yield "pillars, too many", Case(pillar_step(grid, 3, 4000), sweeps(3, 1000))
    yield "pooling", pooling_case(0, 8)
    yield "columns", columns_case(0, 4)
    seen = np.linalg.inv(rig(2))[:, :3].astype(np.float32)
    yield "depth", Case(depth_step(6, IMAGE, 3, 4000), {**sweeps(3, 1000), "bev_to_pixel": seen})
    pose, heights = rig(1), (-1.5, 0.5, 2.0)
    calibration = {**camera_inputs(pose, GRID, heights), "pixel_to_bev": pose}
    yield "lookup", Case(lookup_step(GRID, heights, FRUSTUM, 6), calibration)
    slots = needed_slots(GRID, heights, pose, IMAGE, 2) + 5
    yield "camera slots", Case(slots_step(GRID, heights, IMAGE, 6, slots, 2), calibration, 1e-6)
    yield "decoding", Case(decoding_step(DECODING, 32, 48), maps(2, 32, 48), 1e-4)
    yield "queries", Case(query_step(dataclasses.replace(DECODING, groups=()), 200), queries(3, 200), 1e-4)
    logits = rng.normal(size=(1, 18, 4, 20, 30)).astype(np.float32)
    yield "best class", Case(best_class_step(18, (4, 20, 30)), {"logits_in": logits})
    voxels = rng.integers(0, 18, (1, 16, 7, 50)).astype(np.int32)
    yield "voxels", Case(voxel_step(16, 7, 50), {"voxels_in": voxels})
    logits = rng.normal(size=(1, 6, 20, 30)).astype(np.float32)
    yield "map", Case(map_step([0.35, 0.4, 0.45, 0.5, 0.55, 0.6], 20, 30), {"map_in": logits})

    for name, case in half_cases():
        yield f"{name}, FP16", case


def half_cases() -> Iterator[tuple[str, Case]]:
    """What engines of strongly typed networks take and give."""
    given = sweeps(3, 1000)
    yield "pillars", Case(pillar_step(PILLARS, 3, 4000, floats="float16"), given)
    seen = np.linalg.inv(rig(2))[:, :3].astype(np.float32)
    yield "depth", Case(depth_step(6, IMAGE, 3, 4000, floats="float16"), {**given, "bev_to_pixel": seen})
    pose, heights = rig(1), (-1.5, 0.5)
    slots = needed_slots(GRID, heights, pose, IMAGE, 2) + 5
    step = slots_step(GRID, heights, IMAGE, 6, slots, 2, floats="float16")
    yield "camera slots", Case(step, {**camera_inputs(pose, GRID, heights), "pixel_to_bev": pose}, 1e-3)
    given = {name: array.astype(np.float16) for name, array in maps(2, 32, 48).items()}
    yield "decoding", Case(decoding_step(DECODING, 32, 48, floats="float16"), given, 1e-4)
    given = {name: array.astype(np.float16) for name, array in queries(3, 200).items()}
    step = query_step(dataclasses.replace(DECODING, groups=()), 200, floats="float16")
    yield "queries", Case(step, given, 1e-4)
    logits = np.random.default_rng(8).normal(size=(1, 6, 20, 30)).astype(np.float16)
    yield "best class", Case(best_class_step(6, (20, 30), floats="float16"), {"logits_in": logits})
    yield "map", Case(map_step([0.5] * 6, 20, 30, floats="float16"), {"map_in": logits})


CASES = dict(cases())


def hold(found: Inputs, expected: Inputs, tolerance: float) -> None:
    """Integers and what has no tolerance to the last bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape and found[name].dtype == array.dtype, name
        if tolerance and array.dtype.kind == "f":
            np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], array, err_msg=name)
