"""Tables of view transforms from a calibration: where cameras see the cells of the grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.agent.kernels.plan import Double
from bevlite.kernels.step import THREADS, Arrays, Builder, Floats, Step, blocks_of
from bevlite.runtime.pooling import CellGrid, Frustum
from bevlite.runtime.rebatching import camera_slots
from bevlite.runtime.sampling import NEAREST_M, lookup_table

MOST_CAMERAS = 16
FLOAT_ERROR = 2.0**-20
"""How far a sum of four products may be off in float32, of the sum of their sizes; eight roundings with room."""


def camera_inputs(pixel_to_bev: np.ndarray, grid: CellGrid, heights_m: Sequence[float]) -> dict[str, np.ndarray]:
    """What the kernels take of a calibration (N, 4, 4), made on the host: N small matrices are inverted.

    Returns:
        cameras (N, 3, 4) float64: BEV metres to u * depth, v * depth, depth; errors (N, 3) float32: how far each of
        these may be off in float32 on this grid.
    """
    inverse = np.linalg.inv(pixel_to_bev)[:, :3]
    reach = [abs(grid.x_min), abs(grid.y_min), *(abs(height) for height in heights_m)]
    reach += [abs(grid.x_min + grid.nx * grid.cell_m), abs(grid.y_min + grid.ny * grid.cell_m)]
    size = np.abs(inverse) @ np.array([max(reach)] * 3 + [1.0])
    return {"cameras": np.ascontiguousarray(inverse), "errors": (FLOAT_ERROR * size).astype(np.float32)}


def lookup_step(grid: CellGrid, heights_m: Sequence[float], frustum: Frustum, cameras: int) -> Step:
    """Fast-BEV's table, to the last entry that of `bevlite.runtime.sampling.lookup_table`.

    Inputs: `camera_inputs`, and for the reference `pixel_to_bev` (N, 4, 4). Output: `voxel_index` (heights, ny * nx)
    int32.
    """
    cells = grid.nx * grid.ny
    plan = Builder("lookup_table")
    read = _cameras(plan, cameras, heights_m)
    made = plan.buffer("voxel_index", "int32", (len(heights_m), cells), "output")
    plan.launch(
        "lookup.lookup_table", (blocks_of(cells), len(heights_m)), (THREADS,),
        ("cameras", "errors", cameras, "heights", len(heights_m), *_grid(grid), frustum.stride, frustum.width,
         frustum.height, "voxel_index"),
        read=read, written=made,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        return {"voxel_index": lookup_table(grid, heights_m, frustum, inputs["pixel_to_bev"])}

    return Step(plan.plan(), reference)


def slots_step(
    grid: CellGrid,
    heights_m: Sequence[float],
    image_size: tuple[int, int],
    cameras: int,
    slots: int,
    overlap: int,
    floats: Floats = "float32",
) -> Step:
    """BEVFormer's tables of queries and cameras: those of `bevlite.runtime.rebatching.camera_slots`.

    Inputs: as of `lookup_step`. Outputs: `slot_query`, `slot_reference`, `query_slot`, `query_share` as there, and
    `slots_needed` (N,) int32; `floats` says what `slot_reference` and `query_share` are.

    Raises:
        ValueError: more cameras than the kernel counts.
    """
    if cameras > MOST_CAMERAS:
        raise ValueError(f"cameras: found {cameras}; accepted: at most {MOST_CAMERAS} in the kernel")
    queries, points = grid.nx * grid.ny, len(heights_m)
    blocks, half = blocks_of(queries), int(floats == "float16")
    plan = Builder("camera_slots")
    read = _cameras(plan, cameras, heights_m)
    chosen = plan.buffer("chosen", "int32", (queries,), "scratch")
    sums = plan.buffer("sums", "int32", (cameras * blocks,), "scratch")
    query = plan.buffer("slot_query", "int32", (cameras, slots), "output")
    reference_bytes = plan.buffer("slot_reference", floats, (cameras, slots, points, 2), "output")
    per_query = plan.buffer("query_slot", "int32", (queries, overlap), "output")
    per_query += plan.buffer("query_share", floats, (queries, 1), "output")
    needed = plan.buffer("slots_needed", "int32", (cameras,), "output")
    calibration = ("cameras", "errors", cameras, "heights", points, *_grid(grid), image_size[1], image_size[0], overlap)
    plan.launch(
        "camera_slots.slots_chosen", (blocks,), (THREADS,), (*calibration, blocks, "chosen", "sums"),
        read=read, written=chosen + sums,
    )  # fmt: skip
    # Every slot is written once, by one of the two kernels that follow.
    plan.launch(
        "camera_slots.slots_fill", (blocks,), (THREADS,),
        (*calibration, blocks, "chosen", "sums", slots, "slot_query", "slot_reference", "query_slot", "query_share",
         "slots_needed", half),
        read=read + chosen + sums, written=query + reference_bytes + per_query + needed,
    )  # fmt: skip
    plan.launch(
        "camera_slots.slots_rest", (blocks_of(slots), cameras), (THREADS,),
        ("slots_needed", slots, points, "slot_query", "slot_reference", half), read=needed, written=0,
    )  # fmt: skip

    def reference(inputs: Arrays) -> dict[str, np.ndarray]:
        tables = camera_slots(grid, heights_m, inputs["pixel_to_bev"], image_size, slots, overlap)
        for name in ("slot_reference", "query_share"):
            tables[name] = tables[name].astype(floats)
        return {**tables, "slots_needed": (tables["slot_query"] > 0).sum(axis=1).astype(np.int32)}

    def check(outputs: Arrays) -> None:
        most = int(outputs["slots_needed"].max())
        if most > slots:
            raise ValueError(
                f"slots: found {slots} where a camera of this calibration sees {most} queries; accepted: {most}"
            )

    return Step(plan.plan(), reference, check)


def _cameras(plan: Builder, cameras: int, heights_m: Sequence[float]) -> int:
    """The buffers of a calibration; their bytes."""
    read = plan.buffer("cameras", "float64", (cameras, 3, 4), "input")
    read += plan.buffer("errors", "float32", (cameras, 3), "input")
    return read + plan.constant("heights", np.asarray(heights_m, np.float64))


def _grid(grid: CellGrid) -> tuple[float | int, ...]:
    numbers = (Double(grid.x_min), Double(grid.y_min), Double(grid.cell_m))
    return (*numbers, grid.nx, grid.ny, Double(NEAREST_M))
