"""Raw points of several sweeps to pillars and their index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bevlite.agent.kernels.plan import NO_BUFFER
from bevlite.kernels.step import THREADS, Arrays, Builder, Floats, Step, blocks_of
from bevlite.runtime.pillars import NUMBERS, Coordinates, PillarGrid, cell_centres, group_pillars
from bevlite.runtime.sweeps import EGO_RADIUS_M, compensated

COORDINATES: tuple[Coordinates, ...] = ("pillar", "absolute", "offsets", "offsets_3d")
"""In the order of the kernel's words."""
BUCKET = 1024
CELLS_A_BLOCK = 4 * THREADS
SHARED_BYTES = 48 << 10


def pillar_step(
    grid: PillarGrid, sweeps: int, points: int, expected_points: int | None = None, floats: Floats = "float32"
) -> Step:
    """Points to pillars as `bevlite.runtime` makes them: the index to the last bit, and the numbers as well.

    Inputs: `points` (K, 5) float32 raw, in the sensor frames of their sweeps, newest first; `first` (sweeps + 1,)
    int32, where each sweep begins, and where the last ends; `poses` (sweeps, 3, 4) float32; `lags` (sweeps,) float32 s.
    Sweeps that are missing begin where they end. Outputs: `pillars` (1, F, M, P), empty slots zero;
    `pillar_index` (1, ny, nx) int32; `pillar_report` (3,) int32: pillars used, pillars dropped because there was no
    room, points dropped because a number was not finite.

    Args:
        grid: the canvas.
        sweeps: room for so many.
        points: room for so many points of all sweeps.
        expected_points: for how many traffic is counted; all by default.
        floats: of `pillars`.

    Raises:
        ValueError: more points a pillar than fit into shared memory.
    """
    cells, numbers = grid.nx * grid.ny, NUMBERS[grid.coordinates]
    tight = cells > grid.max_pillars  # else there is room for every cell, and nothing to cut
    slots = _block_slots(numbers, grid.max_points)
    real = min(points, expected_points or points)
    plan = Builder("pillarisation")
    plan.buffer("points", "float32", (points, 5), "input")
    plan.buffer("first", "int32", (sweeps + 1,), "input")
    poses = plan.buffer("poses", "float32", (sweeps, 3, 4), "input")
    plan.buffer("lags", "float32", (sweeps,), "input")
    plan.constant("constants", _constants(grid))
    for name, length in (("cell", points), ("list", points), ("slot_cell", grid.max_pillars), ("next", cells)):
        plan.buffer(name, "int32", (length,), "scratch")
    per_cell = plan.buffer("count", "int32", (cells,), "scratch")
    made = plan.buffer("pillars", floats, (1, numbers, grid.max_points, grid.max_pillars), "output")
    plan.buffer("pillar_index", "int32", (1, grid.ny, grid.nx), "output")
    plan.buffer("pillar_report", "int32", (3,), "output")
    raw = ("points", "first", "poses", "lags", sweeps, EGO_RADIUS_M)
    plan.zero("count")
    plan.zero("pillar_report")
    plan.launch(
        "pillars.pillar_cells", (blocks_of(points),), (THREADS,),
        (*raw, points, float(grid.x_min), float(grid.y_min), float(grid.cell_m), grid.nx, grid.ny, float(grid.z_min),
         float(grid.z_max), "cell", "count", "pillar_report"),
        read=20 * real + poses + 4 * real, written=4 * real + 4 * real,
    )  # fmt: skip
    order, cut = NO_BUFFER, NO_BUFFER
    if tight:
        order, cut = "rank", "cut"
        _add_cut(plan, grid)
    blocks = blocks_of(cells, CELLS_A_BLOCK)
    plan.buffer("sums", "int32", (2 * blocks,), "scratch")
    ranks = per_cell if tight else 0
    plan.launch(
        "pillars.pillar_sums", (blocks,), (THREADS,), ("count", order, cut, cells, blocks, "sums"),
        read=per_cell + ranks, written=8 * blocks,
    )  # fmt: skip
    plan.launch(
        "pillars.pillar_slots", (blocks,), (THREADS,),
        ("count", order, cut, cells, blocks, "sums", "pillar_index", "slot_cell", "next", "pillar_report"),
        read=per_cell + ranks + 8 * blocks, written=per_cell + 8 * grid.max_pillars,
    )  # fmt: skip
    plan.launch(
        "pillars.pillar_lists", (blocks_of(points),), (THREADS,), ("cell", points, "pillar_index", "next", "list"),
        read=4 * real + 8 * real, written=8 * real,
    )  # fmt: skip
    kept = min(real, grid.max_pillars * grid.max_points)
    plan.launch(
        "pillars.pillar_fill", (blocks_of(grid.max_pillars, slots),), (THREADS,),
        (*raw, "count", "next", "list", "slot_cell", "pillar_report", grid.nx, COORDINATES.index(grid.coordinates),
         "constants", numbers, grid.max_points, grid.max_pillars, slots, "pillars", int(floats == "float16")),
        read=4 * real + 20 * kept + 12 * grid.max_pillars, written=made,
        shared=_shared(numbers, grid.max_points, slots),
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        made = _reference(inputs, grid)
        return {**made, "pillars": made["pillars"].astype(floats)}

    return Step(plan.plan(), reference)


def _reference(inputs: Arrays, grid: PillarGrid) -> dict[str, np.ndarray]:
    first = inputs["first"]
    cloud = compensated(inputs["points"], first, inputs["poses"], inputs["lags"])
    used, index = group_pillars(cloud, grid)
    pillars = np.zeros((1, len(used), grid.max_points, grid.max_pillars), np.float32)
    pillars[0, :, :, : used.shape[2]] = used
    everything = replace(grid, max_pillars=grid.nx * grid.ny)
    room = group_pillars(cloud, everything)[0].shape[2] if used.shape[2] == grid.max_pillars else 0
    not_finite = int((~np.isfinite(inputs["points"][: first[-1], :4]).all(axis=1)).sum())
    report = np.array([used.shape[2], max(0, room - grid.max_pillars), not_finite], np.int32)
    return {"pillars": pillars, "pillar_index": index[None], "pillar_report": report}


def _add_cut(plan: Builder, grid: PillarGrid) -> None:
    """Which cells are dropped when there are too many: those that stand last in a fixed order by distance."""
    cells = grid.nx * grid.ny
    x, y = cell_centres(np.arange(cells), grid)
    order = np.argsort(x * x + y * y, kind="stable").astype(np.int32)
    rank = np.empty_like(order)
    rank[order] = np.arange(cells, dtype=np.int32)
    table = plan.constant("rank", rank)
    plan.constant("by_rank", order)
    buckets = blocks_of(cells, BUCKET)
    counted = plan.buffer("buckets", "int32", (buckets,), "scratch")
    plan.buffer("cut", "int32", (1,), "scratch")
    plan.zero("buckets")
    plan.launch(
        "pillars.pillar_ranks", (blocks_of(cells),), (THREADS,), ("count", "rank", cells, "buckets"),
        read=2 * table, written=counted,
    )  # fmt: skip
    plan.launch(
        "pillars.pillar_cut", (1,), (BUCKET,),
        ("count", "by_rank", cells, "buckets", buckets, grid.max_pillars, "cut", "pillar_report"),
        read=counted + 8 * BUCKET, written=12,
    )  # fmt: skip


def _constants(grid: PillarGrid) -> np.ndarray:
    """The numbers that `pillar_fill` takes, each in float64 as the reference has it."""
    height, width, depth = grid.z_max - grid.z_min, grid.nx * grid.cell_m, grid.ny * grid.cell_m
    pairs = [value for length in (height, width, depth) for value in (length, 1 / length)]
    middle = (grid.z_min + grid.z_max) / 2
    return np.array(
        [grid.x_min, grid.y_min, grid.cell_m, 1 / grid.cell_m, grid.z_min, *pairs, middle, *grid.origin_m], np.float64
    )


def _shared(numbers: int, max_points: int, slots: int) -> int:
    return 4 * max_points * (numbers * (slots + 1) + THREADS // 32)


def _block_slots(numbers: int, max_points: int) -> int:
    """Slots of a block: as many as are written in whole lines, fewer where pillars are large."""
    for slots in (32, 16, 8):
        if _shared(numbers, max_points, slots) <= SHARED_BYTES:
            return slots
    most = SHARED_BYTES // _shared(numbers, 1, 8)
    raise ValueError(f"max_points: found {max_points} of {numbers} numbers; accepted: at most {most} in the kernel")
