"""What view transforms share: the BEV grid in plain numbers, and how the host's runtime wants it."""

from __future__ import annotations

from bevlite.grid import BEVGrid
from bevlite.runtime.pooling import CellGrid


def cell_grid(bev: BEVGrid, z_range_m: tuple[float, float]) -> CellGrid:
    """The BEV grid with a height range, as the runtime takes it (m)."""
    return CellGrid(bev.x_range_m[0], bev.y_range_m[0], bev.cell_m, bev.nx, bev.ny, *z_range_m)
