"""BEV queries packed by the cameras that see them (BEVFormer-lite), once a calibration. Numpy alone.

A query that a camera does not see need not be attended by it: each camera gets a dense table of the queries that it
sees, and each query the slots where its answers lie. Entry 0 of every table is nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.runtime.pooling import CellGrid
from bevlite.runtime.sampling import project_cells

NOWHERE = -3.0
"""A reference point that no camera sees: so far outside the image that nothing near it is inside."""


def camera_slots(
    grid: CellGrid,
    heights_m: Sequence[float],
    pixel_to_bev: np.ndarray,
    image_size: tuple[int, int],
    slots: int,
    overlap: int,
) -> dict[str, np.ndarray]:
    """Which queries each camera attends to, and where.

    Args:
        grid: one cell a query.
        heights_m: (A,) heights of the reference points over a cell's centre, m.
        pixel_to_bev: (N, 4, 4).
        image_size: (H, W) px.
        slots: S, queries that a camera has room for.
        overlap: cameras that a query is seen by at most; those that see most of its points come first.

    Returns:
        slot_query (N, S) int32: 1 + query; 0 for a slot that is not used.
        slot_reference (N, S, A, 2) float32: u and v of the reference points within -1..1 of the image; far outside
            where the camera does not see them.
        query_slot (Q, overlap) int32: 1 + n * S + slot; 0 where fewer cameras see the query.
        query_share (Q, 1) float32: one over the number of cameras that see it; 0 where none does.

    Raises:
        ValueError: a camera sees more queries than it has slots for; nothing is dropped silently.
    """
    height, width = image_size
    projected = project_cells(grid, heights_m, pixel_to_bev)
    with np.errstate(invalid="ignore"):
        u, v = projected[..., 0], projected[..., 1]
        seen = (u > -0.5) & (u < width - 0.5) & (v > -0.5) & (v < height - 0.5)
        places = np.stack([2 * (u + 0.5) / width - 1, 2 * (v + 0.5) / height - 1], axis=-1)
    places = np.where(seen[..., None], places, NOWHERE)
    points = seen.sum(axis=1)
    first = np.argsort(-points, axis=0, kind="stable")[:overlap]
    cameras, queries = points.shape
    chosen = np.zeros((cameras, queries), dtype=bool)
    np.put_along_axis(chosen, first, np.take_along_axis(points, first, axis=0) > 0, axis=0)
    most = int(chosen.sum(axis=1).max())
    if most > slots:
        raise ValueError(
            f"slots: found {slots} where a camera of this calibration sees {most} queries; accepted: {most}"
        )
    slot_query = np.zeros((cameras, slots), dtype=np.int32)
    slot_reference = np.full((cameras, slots, len(heights_m), 2), NOWHERE, dtype=np.float32)
    query_slot = np.zeros((queries, overlap), dtype=np.int32)
    count = np.zeros(queries, dtype=np.int64)
    for camera in range(cameras):
        own = np.flatnonzero(chosen[camera])
        slot_query[camera, : len(own)] = 1 + own
        slot_reference[camera, : len(own)] = places[camera][:, own].transpose(1, 0, 2)
        query_slot[own, count[own]] = 1 + camera * slots + np.arange(len(own))
        count[own] += 1
    share = np.where(count > 0, 1 / np.maximum(count, 1), 0).astype(np.float32)
    return {
        "slot_query": slot_query,
        "slot_reference": slot_reference,
        "query_slot": query_slot,
        "query_share": share[:, None],
    }


def needed_slots(
    grid: CellGrid, heights_m: Sequence[float], pixel_to_bev: np.ndarray, image_size: tuple[int, int], overlap: int
) -> int:
    """Queries that the camera which sees most of them sees."""
    tables = camera_slots(grid, heights_m, pixel_to_bev, image_size, grid.nx * grid.ny, overlap)
    return int((tables["slot_query"] > 0).sum(axis=1).max())
