"""Tables of a calibration on the emulated GPU: many rigs, the nominal one, and room that does not suffice."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.kernels.geometry import camera_inputs, lookup_step, slots_step
from bevlite.kernels.pooling import level_places, pooling_step, pose_inputs
from bevlite.models.view_transforms.nominal_rig import nominal_pixel_to_bev
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
