"""Tables of the pooling tree of lift-splat from a calibration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.agent.kernels.plan import Double
from bevlite.kernels.geometry import FLOAT_ERROR
from bevlite.kernels.step import THREADS, Arrays, Builder, Step, blocks_of, padded
from bevlite.runtime.pooling import CellGrid, Frustum, check_capacity, frustum_cells, pooling_tables

MOST_LEVELS = 8
CELLS_A_BLOCK = 4 * THREADS


def pose_inputs(pixel_to_bev: np.ndarray, grid: CellGrid, frustum: Frustum) -> dict[str, np.ndarray]:
    """What the kernels take of a calibration (N, 4, 4).

    Returns:
        poses (N, 3, 4) float64; errors (N,) float32: how many metres a frustum point may be off in float32.
    """
    poses = np.ascontiguousarray(pixel_to_bev[:, :3], np.float64)
    farthest = max(frustum.depths_m)
    corner = farthest * np.array([frustum.width * frustum.stride, frustum.height * frustum.stride, 1.0, 1 / farthest])
    size = (np.abs(poses) @ corner).max(axis=1) + max(abs(grid.x_min), abs(grid.y_min))
    return {"poses": poses, "errors": (FLOAT_ERROR * size).astype(np.float32)}


def pooling_step(frustum: Frustum, grid: CellGrid, cameras: int, chunk: int, capacities: Sequence[int]) -> Step:
    """The tables of the tree, to the last entry those of `bevlite.runtime.pooling`.

    Inputs: `pose_inputs`. Outputs: `depth_index` and `feature_index`
    (R1, S) int32; `levels_index` (entries,) int32, the tables of the levels from the second on, of which
    `level_tables` are the places; `cell_index` (ny * nx,); `rows_needed` (levels + 1,).

    Args:
        frustum: the points that are lifted.
        grid: where they fall.
        cameras: N.
        chunk: S.
        capacities: rows of each level.

    Raises:
        ValueError: more levels than the kernel counts.
    """
    levels = len(capacities)
    if levels > MOST_LEVELS:
        raise ValueError(f"capacity: found {levels} levels; accepted: at most {MOST_LEVELS} in the kernel")
    depths = len(frustum.depths_m)
    area, cells = frustum.height * frustum.width, grid.nx * grid.ny
    points, blocks = cameras * depths * area, blocks_of(cells, CELLS_A_BLOCK)
    starts, entries = level_places(capacities, chunk)
    plan = Builder("pooling_tables")
    poses = plan.buffer("poses", "float64", (cameras, 3, 4), "input")
    poses += plan.buffer("errors", "float32", (cameras,), "input")
    poses += plan.constant("depths", np.asarray(frustum.depths_m, np.float64))
    plan.constant("capacities", np.asarray(capacities, np.int32))
    plan.constant("table_start", np.asarray(starts, np.int32))
    per_cell = plan.buffer("count", "int32", (cells,), "scratch")
    plan.buffer("next", "int32", (cells,), "scratch")
    row_start = plan.buffer("row_start", "int32", (levels, cells), "scratch")
    per_point = plan.buffer("cell", "int32", (points,), "scratch")
    plan.buffer("list", "int32", (points,), "scratch")
    sums = plan.buffer("sums", "int32", (levels + 2, blocks), "scratch")
    tables = plan.buffer("depth_index", "int32", (capacities[0], chunk), "output")
    plan.buffer("feature_index", "int32", (capacities[0], chunk), "output")
    upper = plan.buffer("levels_index", "int32", (entries,), "output")
    plan.buffer("cell_index", "int32", (cells,), "output")
    needed = plan.buffer("rows_needed", "int32", (levels + 1,), "output")
    for name in ("count", "depth_index", "feature_index", "levels_index"):
        plan.zero(name)
    plan.launch(
        "pooling.pooling_cells", (blocks_of(points),), (THREADS,),
        ("poses", "depths", depths, frustum.height, frustum.width, frustum.stride, Double(grid.x_min),
         Double(grid.y_min), Double(grid.cell_m), Double(1 / grid.cell_m), grid.nx, grid.ny, Double(grid.z_min),
         Double(grid.z_max), "errors", points, "cell", "count"),
        read=poses + per_point, written=2 * per_point,
    )  # fmt: skip
    plan.launch(
        "pooling.pooling_sums", (blocks,), (THREADS,), ("count", cells, chunk, chunk, 1, levels, blocks, "sums"),
        read=per_cell, written=sums,
    )  # fmt: skip
    plan.launch(
        "pooling.pooling_rows", (blocks,), (THREADS,),
        ("count", cells, chunk, chunk, levels, blocks, "capacities", "sums", "next", "row_start", "cell_index",
         "rows_needed"),
        read=per_cell + sums, written=2 * per_cell + row_start + needed,
    )  # fmt: skip
    plan.launch(
        "pooling.pooling_lists", (blocks_of(points),), (THREADS,), ("cell", points, "next", "list"),
        read=2 * per_point, written=2 * per_point,
    )  # fmt: skip
    plan.launch(
        "pooling.pooling_fill", (blocks_of(cells, THREADS // 32),), (THREADS,),
        ("count", cells, chunk, levels, "capacities", "table_start", "next", "list", "row_start", depths, area,
         "depth_index", "feature_index", "levels_index"),
        read=per_point + 2 * per_cell + row_start, written=min(2 * tables, 2 * per_point) + upper,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        poses = np.concatenate([inputs["poses"], np.tile([[[0.0, 0.0, 0.0, 1.0]]], (cameras, 1, 1))], axis=1)
        made = pooling_tables(frustum_cells(frustum, grid, poses), cells, chunk, capacities)
        flat = np.zeros(entries, np.int32)
        for level, start in enumerate(starts[1:], start=2):
            table = made.pop(f"level{level}_index")
            flat[start : start + table.size] = table.ravel()
        rows = [int((made["depth_index"] > 0).any(axis=1).sum())]
        rows += [int((flat[s : s + c * chunk].reshape(c, chunk) > 0).any(axis=1).sum())
                 for s, c in zip(starts[1:], capacities[1:])]  # fmt: skip
        return {**made, "levels_index": flat, "rows_needed": np.array([*rows, 0], np.int32)}

    def check(outputs: Arrays) -> None:
        for level, rows in enumerate(outputs["rows_needed"], start=1):
            if level <= levels or rows:
                check_capacity(level, int(rows), capacities)

    return Step(plan.plan(), reference, check)


def level_places(capacities: Sequence[int], chunk: int) -> tuple[list[int], int]:
    """Where the table of each level begins in `levels_index`, in entries, and how long that is.

    Each begins where a tensor of an engine may. Of the first level 0: it is a table of its own.
    """
    starts, end = [0], 0
    for rows in capacities[1:]:
        starts.append(end)
        end += padded(rows * chunk, "int32")
    return starts, max(1, end)
