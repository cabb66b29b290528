"""The BEV grid: which square metres a BEV map covers, and in which cells."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from bevlite.config import Config


def cells_between(low_m: float, high_m: float, cell_m: float) -> int | None:
    """How many cells of `cell_m` fit exactly between two coordinates in metres; None if they do not."""
    count = (high_m - low_m) / cell_m
    return round(count) if math.isclose(count, round(count), abs_tol=1e-4) and round(count) > 0 else None


class BEVGrid(Config):
    """A BEV grid in the ego frame (x forward, y left): maps are `(B, C, H=ny, W=nx)`.

    Cell (iy, ix) covers x in [x_min + ix * cell, x_min + (ix + 1) * cell) and likewise for y.
    """

    x_range_m: tuple[float, float] = (-51.2, 51.2)
    y_range_m: tuple[float, float] = (-51.2, 51.2)
    cell_m: float = Field(default=0.8, gt=0)

    @model_validator(mode="after")
    def _whole_cells(self) -> BEVGrid:
        for axis, (low, high) in (("x_range_m", self.x_range_m), ("y_range_m", self.y_range_m)):
            if cells_between(low, high, self.cell_m) is None:
                raise ValueError(
                    f"found {axis} [{low}, {high}] with cell_m {self.cell_m}; "
                    "accepted: a range that is a whole number of cells"
                )
        return self

    @property
    def nx(self) -> int:
        """Number of cells along x (the W axis of a map)."""
        count = cells_between(*self.x_range_m, self.cell_m)
        assert count is not None
        return count

    @property
    def ny(self) -> int:
        """Number of cells along y (the H axis of a map)."""
        count = cells_between(*self.y_range_m, self.cell_m)
        assert count is not None
        return count
