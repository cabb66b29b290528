"""What view transforms share: the BEV grid in plain numbers, and how the host's runtime wants it; checks of configs."""

from __future__ import annotations

from bevlite.grid import BEVGrid
from bevlite.runtime.pooling import CellGrid


def cell_grid(bev: BEVGrid, z_range_m: tuple[float, float]) -> CellGrid:
    """The BEV grid with a height range, as the runtime takes it (m)."""
    return CellGrid(bev.x_range_m[0], bev.y_range_m[0], bev.cell_m, bev.nx, bev.ny, *z_range_m)


def check_heights(z_range_m: tuple[float, float]) -> None:
    """Heights from low to high (m); raises ValueError."""
    if z_range_m[0] >= z_range_m[1]:
        raise ValueError(f"found z_range_m {list(z_range_m)}; accepted: low < high")


def check_query_stride(query_stride: int, bev: BEVGrid) -> None:
    """A grid that queries at every `query_stride`-th cell divide; raises ValueError."""
    if bev.ny % query_stride or bev.nx % query_stride:
        raise ValueError(
            f"camera.view_transform.query_stride: found {query_stride} on a grid of {bev.ny} x {bev.nx} cells; "
            "accepted: a divisor"
        )
