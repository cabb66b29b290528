"""Tables of lift-splat's pooling by image columns from a calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.agent.kernels.plan import Double
from bevlite.kernels.pooling import CELLS_A_BLOCK, MOST_LEVELS, level_places
from bevlite.kernels.step import THREADS, Arrays, Builder, Step, blocks_of
from bevlite.runtime.columns import GROUP, column_tables
from bevlite.runtime.pooling import CellGrid, Frustum, check_capacity, frustum_cells

SHARED_BYTES = 48 << 10


def columns_step(frustum: Frustum, grid: CellGrid, cameras: int, chunk: int, capacities: Sequence[int]) -> Step:
    """The tables of groups and levels, to the last entry those of `bevlite.runtime.columns.column_tables`.

    Inputs: `bevlite.kernels.pooling.pose_inputs`. Outputs: `column_index`, `depth_index` and `cell_index` as there;
    `levels_index` (entries,) int32, the tables of the levels from the second on, of which
    `bevlite.kernels.pooling.level_places` are the places; `groups_needed` (1,), `rows_needed` (levels + 1,): rows of
    each level from the second on, without the zero row (the first is slots).

    Args:
        frustum: the points that are lifted.
        grid: where they fall.
        cameras: N.
        chunk: S.
        capacities: groups, then rows of each level.

    Raises:
        ValueError: more levels or points of a column than the kernel takes.
    """
    levels, depths, height = len(capacities), len(frustum.depths_m), frustum.height
    cells, columns, area = grid.nx * grid.ny, cameras * frustum.width, height * depths
    room = max(THREADS, 1 << (area - 1).bit_length())
    if 8 * room > SHARED_BYTES or area * cells >= 1 << 32:
        raise ValueError(f"columns: found {area} points of a column on {cells} cells; accepted: at most 4096")
    if levels > MOST_LEVELS:
        raise ValueError(f"capacity: found {levels} levels; accepted: at most {MOST_LEVELS} in the kernel")
    rows, blocks = capacities[0] * GROUP, blocks_of(cells, CELLS_A_BLOCK)
    starts, entries = level_places(capacities, chunk)
    plan = Builder("column_tables")
    poses = plan.buffer("poses", "float64", (cameras, 3, 4), "input")
    poses += plan.buffer("errors", "float32", (cameras,), "input")
    poses += plan.constant("depths", np.asarray(frustum.depths_m, np.float64))
    plan.constant("capacities", np.array([rows, *capacities[1:]], np.int32))
    plan.constant("table_start", np.asarray(starts, np.int32))
    per_column = plan.buffer("counts", "int32", (columns,), "scratch")
    plan.buffer("first_row", "int32", (columns,), "scratch")
    kept = 4 * columns * area
    for name in ("sorted", "slot"):
        plan.buffer(name, "int32", (columns, room), "scratch")
    per_cell = plan.buffer("count", "int32", (cells,), "scratch")
    plan.buffer("next", "int32", (cells,), "scratch")
    row_start = plan.buffer("row_start", "int32", (levels, cells), "scratch")
    sums = plan.buffer("sums", "int32", (levels + 2, blocks), "scratch")
    per_row = plan.buffer("row_cell", "int32", (rows,), "scratch")
    plan.buffer("list", "int32", (rows,), "scratch")
    groups = plan.buffer("column_index", "int32", (capacities[0],), "output")
    plan.buffer("depth_index", "int32", (capacities[0], GROUP, height), "output")
    upper = plan.buffer("levels_index", "int32", (entries,), "output")
    plan.buffer("cell_index", "int32", (cells,), "output")
    plan.buffer("groups_needed", "int32", (1,), "output")
    needed = plan.buffer("rows_needed", "int32", (levels + 1,), "output")
    for name in ("count", "row_cell", "column_index", "depth_index", "levels_index"):
        plan.zero(name)
    plan.launch(
        "columns.columns_sort", (columns,), (THREADS,),
        ("poses", "depths", depths, height, frustum.width, frustum.stride, Double(grid.x_min), Double(grid.y_min),
         Double(grid.cell_m), Double(1 / grid.cell_m), grid.nx, grid.ny, Double(grid.z_min), Double(grid.z_max),
         "errors", room, "sorted", "slot", "counts"),
        read=poses, written=2 * kept + per_column, shared=8 * room,
    )  # fmt: skip
    plan.launch(
        "columns.columns_groups", (1,), (1024,),
        ("counts", columns, capacities[0], "first_row", "column_index", "groups_needed"),
        read=per_column, written=per_column + groups + 4,
    )  # fmt: skip
    plan.launch(
        "columns.columns_fill", (columns,), (THREADS,),
        ("sorted", "slot", "first_row", room, depths, height, frustum.width, rows, "depth_index", "row_cell", "count"),
        read=2 * kept + per_column, written=kept + 2 * per_row,
    )  # fmt: skip
    plan.launch(
        "pooling.pooling_sums", (blocks,), (THREADS,), ("count", cells, chunk, 1, chunk, levels, blocks, "sums"),
        read=per_cell, written=sums,
    )  # fmt: skip
    plan.launch(
        "pooling.pooling_rows", (blocks,), (THREADS,),
        ("count", cells, chunk, 1, levels, blocks, "capacities", "sums", "next", "row_start", "cell_index",
         "rows_needed"),
        read=per_cell + sums, written=2 * per_cell + row_start + needed,
    )  # fmt: skip
    plan.launch(
        "columns.columns_lists", (blocks_of(rows),), (THREADS,), ("row_cell", rows, "next", "list"),
        read=2 * per_row, written=2 * per_row,
    )  # fmt: skip
    plan.launch(
        "columns.columns_levels", (blocks_of(cells, THREADS // 32),), (THREADS,),
        ("count", cells, chunk, levels, "capacities", "table_start", "next", "list", "row_start", "levels_index",
         "cell_index"),
        read=per_row + 2 * per_cell + row_start, written=upper + per_cell,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        matrices = np.concatenate([inputs["poses"], np.tile([[[0.0, 0.0, 0.0, 1.0]]], (cameras, 1, 1))], axis=1)
        made = column_tables(frustum_cells(frustum, grid, matrices), cells, chunk, capacities)
        flat, slots = np.zeros(entries, np.int32), int((made["depth_index"] > 0).any(axis=2).sum())
        found = [slots]
        for level, start in enumerate(starts[1:], start=2):
            table = made.pop(f"level{level}_index")
            flat[start : start + table.size] = table.ravel()
            found.append(int((table > 0).any(axis=1).sum()))
        used = np.flatnonzero((made["depth_index"] > 0).any(axis=(1, 2)))
        made["groups_needed"] = np.array([used.max(initial=-1) + 1], np.int32)
        return {**made, "levels_index": flat, "rows_needed": np.array([*found, 0], np.int32)}

    def check(outputs: Arrays) -> None:
        check_capacity(1, int(outputs["groups_needed"][0]), capacities, "groups")
        for level, count in enumerate(outputs["rows_needed"][1:], start=2):
            if count:
                check_capacity(level, 1 + int(count), capacities, "rows")

    return Step(plan.plan(), reference, check)
