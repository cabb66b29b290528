"""LSS pooling without a plugin, by image columns: a product a column, then a small tree of gathers.

The pixels of an image column at one depth lie on a short line in the BEV plane, and most of them in one cell. A *slot*
is a cell that a column reaches: for every row of the column at most one depth bin, whose weight counts there. The depth
weights of the slots, as a matrix, times the features of the column sum all slots at once; some ten times fewer rows
than points are left, which a tree of gathers adds up by cell. Exact for any calibration, up to the order of the sum: a
camera that is turned far needs more slots, and more than there is room for is an error. Row 0 of every table is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bevlite.runtime.pooling import check_capacity, chunks

GROUP = 32
"""Slots that are multiplied at a time; a column takes as many groups as it needs."""


class Slots:
    """The slots of one calibration, sorted by column and cell.

    Made of cells (N, D, h, w), -1 outside. column, cell (slots,): camera * w + image column, BEV cell. slot, row, point
    (points,): slot and row of every point that falls on the grid, and its index into the depth weights (N, D, h, w).
    """

    def __init__(self, cells: np.ndarray) -> None:
        _, depths, height, width = cells.shape
        by_column = cells.transpose(0, 3, 2, 1).reshape(-1)  # camera, column, row, depth: a pixel's bins in a row
        kept = np.flatnonzero(by_column >= 0)
        column_row, depth = np.divmod(kept, depths)
        column, row = np.divmod(column_row, height)
        cell = by_column[kept]
        span = int(cell.max()) + 1 if len(cell) else 1
        order = np.argsort(column * span + cell, kind="stable")  # rows and depths stay in order
        column, row, depth, cell = column[order], row[order], depth[order], cell[order]
        # Bins of one pixel that reach the same cell take slots of their own.
        again = np.zeros(len(cell), dtype=np.int64)
        same = (column[1:] == column[:-1]) & (row[1:] == row[:-1]) & (cell[1:] == cell[:-1])
        if same.any():
            starts = np.flatnonzero(np.r_[True, ~same])
            again = np.arange(len(cell)) - np.repeat(starts, np.diff(np.r_[starts, len(cell)]))
        repeats = int(again.max()) + 1 if len(again) else 1
        key, self.slot = np.unique((column * span + cell) * repeats + again, return_inverse=True)
        self.column, self.cell = np.divmod(key // repeats, span)
        self.row = row
        camera, u = np.divmod(column, width)
        self.point = ((camera * depths + depth) * height + row) * width + u

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Row of each slot in the groups, of which row 0 stays free, and the column of each group."""
        if not len(self.column):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        starts = np.flatnonzero(np.r_[True, self.column[1:] != self.column[:-1]])
        counts = np.diff(np.r_[starts, len(self.column)])
        free = np.zeros(len(starts), np.int64)
        free[0] = 1
        groups = -(-(counts + free) // GROUP)
        first = np.cumsum(groups) - groups
        rank = np.arange(len(self.column)) - np.repeat(starts, counts)
        return np.repeat(first * GROUP + free, counts) + rank, np.repeat(self.column[starts], groups)


def column_levels(cells: np.ndarray, chunk: int) -> list[int]:
    """Groups, then rows of each level, that these cells need ((N, D, h, w) int, -1 outside)."""
    slots = Slots(cells)
    needed = [max(1, len(slots.rows()[1]))]
    owner = np.sort(slots.cell)
    while True:
        owner = owner[np.isin(owner, owner[1:][owner[1:] == owner[:-1]])]
        if not len(owner):
            return needed
        owner = chunks(owner, chunk)[2]
        needed.append(1 + len(owner))


def column_tables(cells: np.ndarray, cell_count: int, chunk: int, capacities: Sequence[int]) -> dict[str, np.ndarray]:
    """The INT32 inputs of the exported view transform for one calibration.

    Args:
        cells: (N, D, h, w) from `frustum_cells`.
        cell_count: ny * nx.
        chunk: S, rows that a level adds up at a time.
        capacities: groups, then rows of each level; constants of the engine.

    Returns:
        column_index (G,): camera * w + column, whose features a group takes.
        depth_index (G, 32, h): 1 + index into the flattened depth (N, D, h, w); 0 is the zero weight.
        level2_index (R2, S): rows of the groups, 0 is the zero row; level3_index, ...: of the level before.
        cell_index (ny * nx,): row of groups and levels, one after the other; 0 is the zero row.

    Raises:
        ValueError: more groups or rows are needed than there is room for; nothing is ever dropped silently.
    """
    slots = Slots(cells)
    rows, columns = slots.rows()
    check_capacity(1, len(columns), capacities, "groups")
    column_index = np.zeros(capacities[0], dtype=np.int32)
    column_index[: len(columns)] = columns
    depth_index = np.zeros((capacities[0] * GROUP, cells.shape[2]), dtype=np.int32)
    depth_index[rows[slots.slot], slots.row] = slots.point + 1
    tables = {"column_index": column_index, "depth_index": depth_index.reshape(capacities[0], GROUP, -1)}
    cell_index = np.zeros(cell_count, dtype=np.int32)
    order = np.argsort(slots.cell, kind="stable")
    owner, ids = slots.cell[order], rows[order]
    base = 0
    for level, size in enumerate((capacities[0] * GROUP, *capacities[1:]), start=1):
        same = owner[1:] == owner[:-1]
        single = np.r_[True, ~same] & np.r_[~same, True] if len(owner) else np.ones(0, bool)
        cell_index[owner[single]] = base + ids[single]
        owner, ids, base = owner[~single], ids[~single], base + size
        row, column, above = chunks(owner, chunk)
        if level == len(capacities):
            check_capacity(level + 1, len(above) and len(above) + 1, capacities, "rows")
            break
        check_capacity(level + 1, 1 + len(above), capacities, "rows")
        table = np.zeros((capacities[level], chunk), dtype=np.int32)
        table[1 + row, column] = ids
        tables[f"level{level + 1}_index"] = table
        owner, ids = above, 1 + np.arange(len(above))
    tables["cell_index"] = cell_index
    return tables
