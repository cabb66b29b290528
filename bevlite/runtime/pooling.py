"""LSS pooling without a plugin: a tree of gathers whose tables are computed here, once a calibration.

The frustum points are sorted by BEV cell and each cell's run is cut into chunks of S. Level 1 gathers S depth
weights and S feature rows a chunk and multiplies them out; cells with more than one chunk gather their partial sums
again in chunks of S, level by level; a last gather lays one row a cell on the grid. Row 0 is all zero everywhere,
so that unused entries add nothing. Exact up to the order of the sum; capacity that does not suffice is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frustum:
    """The points that are lifted: every feature pixel at every depth.

    depths_m: (D,) m along the optical axis. height, width: of the feature map. stride: px a feature step.
    """

    depths_m: tuple[float, ...]
    height: int
    width: int
    stride: int

    def pixels(self) -> np.ndarray:
        """(D, h, w, 3): (u * depth, v * depth, depth) in image px and m; the centre of each feature's patch."""
        u = (np.arange(self.width) + 0.5) * self.stride - 0.5
        v = (np.arange(self.height) + 0.5) * self.stride - 0.5
        depth = np.asarray(self.depths_m, dtype=np.float64)[:, None, None]
        shape = (len(self.depths_m), self.height, self.width)
        return np.stack(
            [
                np.broadcast_to(depth * u[None, None, :], shape),
                np.broadcast_to(depth * v[None, :, None], shape),
                np.broadcast_to(depth, shape),
            ],
            axis=-1,
        )


@dataclass(frozen=True)
class CellGrid:
    """The BEV grid in plain numbers: origin and cell in m, nx and ny cells, z range in m."""

    x_min: float
    y_min: float
    cell_m: float
    nx: int
    ny: int
    z_min: float
    z_max: float


def frustum_cells(frustum: Frustum, grid: CellGrid, pixel_to_bev: np.ndarray) -> np.ndarray:
    """BEV cell of every frustum point.

    Args:
        frustum: the points.
        grid: where they fall.
        pixel_to_bev: (N, 4, 4), takes (u * depth, v * depth, depth, 1) to BEV metres.

    Returns:
        (N, D, h, w) int64: iy * nx + ix, or -1 outside the grid. Cells by floor.
    """
    points = frustum.pixels() @ np.swapaxes(pixel_to_bev[:, None, None, :3, :3], -1, -2)
    points = points + pixel_to_bev[:, None, None, None, :3, 3]
    ix = np.floor((points[..., 0] - grid.x_min) / grid.cell_m).astype(np.int64)
    iy = np.floor((points[..., 1] - grid.y_min) / grid.cell_m).astype(np.int64)
    z = points[..., 2]
    inside = (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny) & (z >= grid.z_min) & (z < grid.z_max)
    return np.where(inside, iy * grid.nx + ix, -1)


def chunks(owner: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the runs of a sorted array into chunks: row of each entry, column of each entry, owner of each row."""
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]]) if len(owner) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(owner)])
    rank = np.arange(len(owner)) - np.repeat(starts, lengths)
    rows_of_run = -(-lengths // size)
    first_row = np.cumsum(rows_of_run) - rows_of_run
    row = np.repeat(first_row, lengths) + rank // size
    return row, rank % size, np.repeat(owner[starts], rows_of_run)


def tree_levels(cells: np.ndarray, chunk: int) -> list[int]:
    """How many rows each level of the tree needs for these cells ((...) int, -1 outside)."""
    owner = np.sort(cells[cells >= 0].ravel())
    levels = []
    while True:
        owner = chunks(owner, chunk)[2]
        levels.append(len(owner))
        owner = owner[np.isin(owner, owner[1:][owner[1:] == owner[:-1]])]
        if not len(owner):
            return levels


def pooling_tables(cells: np.ndarray, cell_count: int, chunk: int, capacities: Sequence[int]) -> dict[str, np.ndarray]:
    """The INT32 inputs of the exported view transform for one calibration.

    Args:
        cells: (N, D, h, w) from `frustum_cells`.
        cell_count: ny * nx.
        chunk: S, points a chunk.
        capacities: rows that each level has room for; a constant of the engine.

    Returns:
        depth_index (R1, S): 1 + index into the flattened depth (N, D, h, w); 0 is the zero weight.
        feature_index (R1, S): index into the flattened feature rows (N, h, w).
        level2_index, ... (Rk, S): 1 + index of a partial sum, over all levels in a row; 0 is the zero row.
        cell_index (ny * nx,): likewise.

    Raises:
        ValueError: a level needs more rows than its capacity; nothing is ever dropped silently.
    """
    _, depths, height, width = cells.shape
    flat = cells.reshape(-1)
    kept = np.flatnonzero(flat >= 0)
    kept = kept[np.argsort(flat[kept], kind="stable")]
    camera, rest = np.divmod(kept, depths * height * width)
    feature = camera * height * width + rest % (height * width)
    row, column, owner = chunks(flat[kept], chunk)
    check_capacity(1, len(owner), capacities)
    depth_index = np.zeros((capacities[0], chunk), dtype=np.int32)
    feature_index = np.zeros((capacities[0], chunk), dtype=np.int32)
    depth_index[row, column] = kept + 1
    feature_index[row, column] = feature
    tables = {"depth_index": depth_index, "feature_index": feature_index}
    cell_index = np.zeros(cell_count, dtype=np.int32)
    ids = 1 + np.arange(len(owner))
    base = 1 + capacities[0]
    level = 1
    while True:
        single = np.ones(len(owner), dtype=bool)
        same = owner[1:] == owner[:-1]
        single[1:] &= ~same
        single[:-1] &= ~same
        cell_index[owner[single]] = ids[single]
        owner, ids = owner[~single], ids[~single]
        level += 1
        if level > len(capacities):
            if len(owner):
                check_capacity(level, len(owner), capacities)
            break
        table = np.zeros((capacities[level - 1], chunk), dtype=np.int32)
        if len(owner):
            row, column, above = chunks(owner, chunk)
            check_capacity(level, len(above), capacities)
            table[row, column] = ids
            owner, ids = above, base + np.arange(len(above))
        base += capacities[level - 1]
        tables[f"level{level}_index"] = table
    tables["cell_index"] = cell_index
    return tables


def check_capacity(level: int, needed: int, capacities: Sequence[int], of: str = "rows") -> None:
    """Raise a ValueError when a level needs more rows (or groups) than its capacity."""
    room = capacities[level - 1] if level <= len(capacities) else 0
    if needed > room:
        raise ValueError(
            f"pooling tables: level {level} needs {needed} {of} for this calibration and has room for {room}; "
            "set view_transform.capacity for your rig"
        )
