"""Tables of a calibration on the emulated GPU: many rigs, the nominal one, and room that does not suffice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bevlite.kernels.columns import columns_step
from bevlite.kernels.geometry import camera_inputs, lookup_step, slots_step
from bevlite.kernels.pooling import level_places, pooling_step, pose_inputs
from bevlite.models.view_transforms.lss_tables import tilted
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
from bevlite.runtime.columns import column_levels
from bevlite.runtime.pooling import frustum_cells, pooling_tables, tree_levels
from tests.kernels.cases import FRUSTUM, GRID, IMAGE, hold, pooling_case, rig
from tests.kernels.emulation import emulate, needs_compiler

HEIGHTS = (-2.0, 0.0, 1.0)


@needs_compiler
@pytest.mark.parametrize(("seed", "chunk"), [(0, 2), (1, 3), (2, 64)])
def test_trees_of_many_shapes(seed: int, chunk: int) -> None:
    case = pooling_case(seed, chunk)
    hold(emulate(case.step.plan, case.inputs, seed=seed), case.step.reference(case.inputs), 0)


@needs_compiler
def test_a_level_of_an_engine_is_a_part_of_one_buffer() -> None:
    pose = rig(3)
    room = [rows + 5 for rows in tree_levels(frustum_cells(FRUSTUM, GRID, pose), 4)] + [8]
    found = emulate(pooling_step(FRUSTUM, GRID, 6, 4, room).plan, pose_inputs(pose, GRID, FRUSTUM))
    tables = pooling_tables(frustum_cells(FRUSTUM, GRID, pose), GRID.nx * GRID.ny, 4, room)
    starts, _ = level_places(room, 4)
    assert len(room) > 3 and all(start % 64 == 0 for start in starts)
    for level, (start, rows) in enumerate(zip(starts[1:], room[1:], strict=True), start=2):
        table = found["levels_index"][start : start + 4 * rows].reshape(rows, 4)
        assert np.array_equal(table, tables[f"level{level}_index"])


@needs_compiler
def test_room_that_does_not_suffice_is_the_reference_s_error() -> None:
    pose = rig(4)
    needed = tree_levels(frustum_cells(FRUSTUM, GRID, pose), 4)
    for level in range(len(needed)):
        room = [rows - (k == level) for k, rows in enumerate(needed)]
        step = pooling_step(FRUSTUM, GRID, 6, 4, room)
        with pytest.raises(ValueError, match=f"level {level + 1} needs {needed[level]} rows") as ours:
            step.check(emulate(step.plan, pose_inputs(pose, GRID, FRUSTUM)))
        with pytest.raises(ValueError) as theirs:
            step.reference(pose_inputs(pose, GRID, FRUSTUM))
        assert str(ours.value) == str(theirs.value)
    step = pooling_step(FRUSTUM, GRID, 6, 4, needed[:-1])
    with pytest.raises(ValueError, match=f"level {len(needed)} needs"):
        step.check(emulate(step.plan, pose_inputs(pose, GRID, FRUSTUM)))


@needs_compiler
@pytest.mark.parametrize(("seed", "chunk", "step_m"), [(None, 4, 1.5), (0, 2, 0.3), (1, 3, 0.5)])
def test_columns_of_many_shapes(seed: int | None, chunk: int, step_m: float) -> None:
    """Bins nearer to each other than cells are large: those of one pixel in one cell take slots of their own."""
    pose = nominal_pixel_to_bev(*IMAGE) if seed is None else tilted(rig(seed))
    frustum = dataclasses.replace(FRUSTUM, depths_m=tuple(np.arange(1.0, 30.0, step_m)))
    room = [rows + 2 for rows in column_levels(frustum_cells(frustum, GRID, pose), chunk)] + [8]
    step, given = columns_step(frustum, GRID, 6, chunk, room), pose_inputs(pose, GRID, frustum)
    hold(emulate(step.plan, given, seed=seed or 0), step.reference(given), 0)


@needs_compiler
def test_columns_without_room_and_without_points() -> None:
    pose = rig(4)
    needed = column_levels(frustum_cells(FRUSTUM, GRID, pose), 4)
    assert len(needed) > 2
    for level in range(len(needed) + 1):
        room = [rows - (k == level) for k, rows in enumerate(needed)] if level < len(needed) else needed[:-1]
        step = columns_step(FRUSTUM, GRID, 6, 4, room)
        with pytest.raises(ValueError, match=r"needs \d+ (groups|rows)") as ours:
            step.check(emulate(step.plan, pose_inputs(pose, GRID, FRUSTUM)))
        with pytest.raises(ValueError) as theirs:
            step.reference(pose_inputs(pose, GRID, FRUSTUM))
        assert str(ours.value) == str(theirs.value)
    above = rig(4)
    above[:, 2, 3] += 100
    step = columns_step(FRUSTUM, GRID, 6, 4, [4, 8])
    given = pose_inputs(above, GRID, FRUSTUM)
    hold(emulate(step.plan, given), step.reference(given), 0)
    with pytest.raises(ValueError, match="columns: found 10000 points of a column"):
        columns_step(dataclasses.replace(FRUSTUM, height=500), GRID, 6, 4, [4, 8])


@needs_compiler
@pytest.mark.parametrize("seed", [None, 5, 6, 7])
def test_where_float32_does_not_tell_double_does(seed: int | None) -> None:
    """The nominal rig looks along the axes of the grid: many of its points lie on borders of cells and pixels."""
    pose = nominal_pixel_to_bev(*IMAGE) if seed is None else rig(seed)
    calibration = {**camera_inputs(pose, GRID, HEIGHTS), "pixel_to_bev": pose}
    step = lookup_step(GRID, HEIGHTS, FRUSTUM, 6)
    hold(emulate(step.plan, calibration), step.reference(calibration), 0)
    room = [rows + 8 for rows in tree_levels(frustum_cells(FRUSTUM, GRID, pose), 8)] + [8]
    case = pooling_step(FRUSTUM, GRID, 6, 8, room)
    given = pose_inputs(pose, GRID, FRUSTUM)
    found, expected = emulate(case.plan, given), case.reference(given)
    hold(found, expected, 0)


@needs_compiler
def test_a_camera_that_sees_more_than_there_is_room_for() -> None:
    pose = rig(8)
    calibration = camera_inputs(pose, GRID, HEIGHTS)
    roomy = slots_step(GRID, HEIGHTS, IMAGE, 6, GRID.nx * GRID.ny, 2)
    most = int(emulate(roomy.plan, calibration)["slots_needed"].max())
    tight = slots_step(GRID, HEIGHTS, IMAGE, 6, most - 1, 2)
    with pytest.raises(ValueError, match=f"slots: found {most - 1} where a camera of this calibration sees {most}"):
        tight.check(emulate(tight.plan, calibration))
