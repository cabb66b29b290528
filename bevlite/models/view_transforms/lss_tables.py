"""Hosts of the forms of lift-splat's pooling: from a calibration to the INT32 tables of the exported module.

A form is what the exported module computes; all are exact, and training knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from bevlite.data.frame import Frame
from bevlite.kernels.columns import columns_step
from bevlite.kernels.pooling import pooling_step
from bevlite.kernels.step import Floats, Step
from bevlite.models.contracts import Host, TensorSpec
from bevlite.models.view_transforms.nominal_rig import CAMERAS, nominal_pixel_to_bev
from bevlite.runtime.columns import GROUP, column_levels, column_tables
from bevlite.runtime.pooling import CellGrid, Frustum, frustum_cells, pooling_tables, tree_levels

Form = Literal["tree", "columns"]
CAPACITY_MARGIN = 1.3  # over the nominal rig; calibrations of real cars vary by a few per cent
CAPACITY_STEP = 64
COLUMN_STEP = 16
TILT_RAD = np.deg2rad(1.0)
"""How far the rig is pitched and rolled that the columns have room for: a level one hides how many cells they reach."""


class PoolingTables(Host):
    """Calibration to the tables of the pooling tree; a batch holds the calibration itself."""

    needs = frozenset({"images"})
    form: ClassVar[Form] = "tree"

    def __init__(
        self,
        frustum: Frustum,
        grid: CellGrid,
        chunk: int,
        capacity: tuple[int, ...] | None,
        cameras: int,
        image_size: tuple[int, int],
        spread: np.ndarray | None = None,
    ) -> None:
        """`spread` (4, 4): where features look other than the frustum says (`border_to_border`)."""
        self.frustum, self.grid, self.chunk = frustum, grid, chunk
        self._spread = spread
        self._capacity, self._cameras, self._image_size = capacity, cameras, image_size

    @cached_property
    def capacities(self) -> tuple[int, ...]:
        """Rows that each level of the exported tree has room for."""
        if self._capacity is not None:
            return self._capacity
        if self._cameras == len(CAMERAS):
            cells = frustum_cells(self.frustum, self.grid, nominal_pixel_to_bev(*self._image_size))
            needed = [CAPACITY_MARGIN * rows for rows in tree_levels(cells, self.chunk)]
        else:  # no rig to go by: what no calibration can exceed
            points = self._cameras * len(self.frustum.depths_m) * self.frustum.height * self.frustum.width
            needed = [points / self.chunk + min(points, self.grid.nx * self.grid.ny)]
            while needed[-1] > 1:
                needed.append(needed[-1] / self.chunk)
        # One level more than the rig needs, so that a cell which collects more than any of its does fits too.
        rounded = [int(-(-rows // CAPACITY_STEP)) * CAPACITY_STEP for rows in needed]
        return (*rounded, CAPACITY_STEP)

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """The tables, level by level."""
        first, *rest = self.capacities
        names = ["depth_index", "feature_index", *(f"level{k}_index" for k in range(2, len(rest) + 2))]
        specs = [
            TensorSpec(name, (rows, self.chunk), "int32", ("chunk", "entry"), "calibration")
            for name, rows in zip(names, (first, first, *rest), strict=True)
        ]
        return (*specs, TensorSpec("cell_index", (self.grid.ny * self.grid.nx,), "int32", ("cell",), "calibration"))

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """`pixel_to_bev` (N, 4, 4), from the places of the frustum."""
        assert frame.pixel_to_bev is not None
        return {"pixel_to_bev": frame.pixel_to_bev if self._spread is None else frame.pixel_to_bev @ self._spread}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tables for one calibration (raises ValueError when the capacity does not suffice)."""
        cells = frustum_cells(self.frustum, self.grid, sample["pixel_to_bev"])
        return pooling_tables(cells, self.grid.nx * self.grid.ny, self.chunk, self.capacities)

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """The tables of the tree."""
        return (pooling_step(self.frustum, self.grid, self._cameras, self.chunk, self.capacities),)

    def on_board(self) -> list[dict[str, Any]]:
        """The same tables, of the same capacity."""
        spread = None if self._spread is None else self._spread.tolist()
        settings = {"frustum": asdict(self.frustum), "grid": asdict(self.grid), "chunk": self.chunk, "spread": spread}
        return [{"step": f"pooling_{self.form}", **settings, "capacities": list(self.capacities)}]


class ColumnTables(PoolingTables):
    """Calibration to the tables of pooling by image columns. Capacity: groups of slots, then rows of each level."""

    form = "columns"

    @cached_property
    def capacities(self) -> tuple[int, ...]:
        """Groups, and rows that each level has room for."""
        if self._capacity is not None:
            return self._capacity
        if self._cameras == len(CAMERAS):
            cells = frustum_cells(self.frustum, self.grid, tilted(nominal_pixel_to_bev(*self._image_size)))
            first, *rest = (CAPACITY_MARGIN * rows for rows in column_levels(cells, self.chunk))
        else:  # no rig to go by: two cells a column and bin, each cell reached by several columns
            columns = self._cameras * self.frustum.width
            slots = 2 * columns * (len(self.frustum.depths_m) + GROUP)
            first, rest = slots / GROUP, [min(slots, self.grid.nx * self.grid.ny)]
            while rest[-1] > CAPACITY_STEP:
                rest.append(rest[-1] / self.chunk)
        groups = int(-(-first // COLUMN_STEP)) * COLUMN_STEP
        return (groups, *(int(-(-rows // CAPACITY_STEP)) * CAPACITY_STEP for rows in rest), CAPACITY_STEP)

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """The tables, level by level."""
        groups, *rest = self.capacities
        levels = [
            TensorSpec(f"level{k}_index", (rows, self.chunk), "int32", ("chunk", "entry"), "calibration")
            for k, rows in enumerate(rest, start=2)
        ]
        shape = (groups, GROUP, self.frustum.height)
        return (
            TensorSpec("column_index", (groups,), "int32", ("group",), "calibration"),
            TensorSpec("depth_index", shape, "int32", ("group", "slot", "y"), "calibration"),
            *levels,
            TensorSpec("cell_index", (self.grid.ny * self.grid.nx,), "int32", ("cell",), "calibration"),
        )

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tables for one calibration (raises ValueError when the capacity does not suffice)."""
        cells = frustum_cells(self.frustum, self.grid, sample["pixel_to_bev"])
        return column_tables(cells, self.grid.nx * self.grid.ny, self.chunk, self.capacities)

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """The tables of groups and levels."""
        return (columns_step(self.frustum, self.grid, self._cameras, self.chunk, self.capacities),)


def border_to_border(frustum: Frustum, image_size: tuple[int, int]) -> np.ndarray:
    """(4, 4), of (u * depth, v * depth, depth, 1): the middles of patches spread from the first pixel to the last.

    So the first implementations of lift-splat have it (`linspace(0, width - 1, w)`). Linear in u and v: it goes into
    the calibration, and neither kernels nor tables know of it.
    """
    matrix = np.eye(4)
    for axis, (pixels, count) in enumerate(zip(image_size[::-1], (frustum.width, frustum.height), strict=True)):
        scale = (pixels - 1) / (max(count - 1, 1) * frustum.stride)
        matrix[axis, axis], matrix[axis, 2] = scale, -scale * (frustum.stride - 1) / 2
    return matrix


def tilted(pixel_to_bev: np.ndarray) -> np.ndarray:
    """A rig (N, 4, 4) of which every camera is pitched and rolled by `TILT_RAD`."""
    cos, sin = np.cos(TILT_RAD), np.sin(TILT_RAD)
    pitch = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    roll = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    turned = pixel_to_bev.copy()
    turned[:, :3, :3] = pitch @ roll @ turned[:, :3, :3]
    return turned


FORMS: dict[Form, type[PoolingTables]] = {"tree": PoolingTables, "columns": ColumnTables}
