"""Lift-splat (Philion and Fidler, ECCV 2020): a depth distribution a pixel, pooled exactly on the BEV grid.

Training adds the weighted features to their cells (bevlite.models.kernels.lss_pooling); the exported module computes
the same sum by a tree of gathers with the tables as inputs (bevlite.runtime.pooling).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.models.contracts import Host, TensorSpec, ViewTransform
from bevlite.models.kernels import lss_pooling
from bevlite.models.kernels.lss_pooling import Kernel
from bevlite.models.view_transforms.lift import Lift, LiftConfig
from bevlite.models.view_transforms.nominal_rig import CAMERAS, nominal_pixel_to_bev
from bevlite.registry import VIEW_TRANSFORMS
from bevlite.runtime.pooling import CellGrid, Frustum, frustum_cells, pooling_tables, tree_levels

CAPACITY_MARGIN = 1.3  # over the nominal rig; calibrations of real cars vary by a few per cent
CAPACITY_STEP = 64


@VIEW_TRANSFORMS.register
class LSSConfig(LiftConfig):
    """Lift-splat. Depth bins are centred at depth_range_m[0] + (k + 0.5) * depth_step_m.

    chunk: S of the pooling tree. capacity: rows of its levels, null for a nuScenes-like rig with 30 % margin.
    ego_motion: correct the car's motion between camera and LiDAR times; the tables then change every frame.
    """

    type: Literal["lss"] = "lss"
    chunk: int = Field(default=8, ge=2, le=64)
    capacity: tuple[int, ...] | None = None

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part."""
        return LiftSplat(self, in_channels, stride, image_size, cameras, bev)


class PoolingTables(Host):
    """Calibration to the tables of the pooling tree; a batch holds the calibration itself."""

    needs = frozenset({"images"})

    def __init__(
        self,
        frustum: Frustum,
        grid: CellGrid,
        chunk: int,
        capacity: tuple[int, ...] | None,
        cameras: int,
        image_size: tuple[int, int],
    ) -> None:
        self.frustum, self.grid, self.chunk = frustum, grid, chunk
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
        """`pixel_to_bev` (N, 4, 4)."""
        assert frame.pixel_to_bev is not None
        return {"pixel_to_bev": frame.pixel_to_bev}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The tables for one calibration (raises ValueError when the capacity does not suffice)."""
        cells = frustum_cells(self.frustum, self.grid, sample["pixel_to_bev"])
        return pooling_tables(cells, self.grid.nx * self.grid.ny, self.chunk, self.capacities)


class LiftSplat(Lift):
    """Features (B*N, C_in, h, w) and `pixel_to_bev` (B, N, 4, 4) to the camera BEV map (B, C, ny, nx)."""

    def __init__(
        self,
        config: LSSConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__(config, in_channels, stride, image_size, cameras, bev)
        self.host = PoolingTables(self.frustum, self.grid, config.chunk, config.capacity, cameras, image_size)
        pixels = torch.from_numpy(self.frustum.pixels().reshape(-1, 3))
        self.register_buffer("pixels", pixels, persistent=False)
        grid, area = self.grid, self.frustum
        self.register_buffer("depths_m", torch.tensor(config.depths_m, dtype=torch.float64), persistent=False)
        limits = torch.tensor((grid.x_min, grid.y_min, grid.cell_m, grid.z_min, grid.z_max), dtype=torch.float64)
        self.register_buffer("limits", limits, persistent=False)
        self._sizes = (area.height, area.width, area.stride, grid.ny, grid.nx)

    def cells(self, pixel_to_bev: Tensor, kernel: Kernel | None = None) -> Tensor:
        """BEV cell of every frustum point, (B, N, D, h, w) integers, -1 outside; float64 as on the host."""
        if (kernel or lss_pooling.kernel_for(pixel_to_bev.device)) == "triton":
            return lss_pooling.frustum_cells(pixel_to_bev, self.depths_m, self.limits, self._sizes)  # type: ignore[arg-type]
        matrix = pixel_to_bev.double()
        pixels: Tensor = self.pixels  # type: ignore[assignment]
        points = pixels @ matrix[..., :3, :3].transpose(-1, -2) + matrix[..., None, :3, 3]
        grid = self.grid
        ix = torch.floor((points[..., 0] - grid.x_min) / grid.cell_m).long()
        iy = torch.floor((points[..., 1] - grid.y_min) / grid.cell_m).long()
        z = points[..., 2]
        inside = (ix >= 0) & (ix < grid.nx) & (iy >= 0) & (iy < grid.ny) & (z >= grid.z_min) & (z < grid.z_max)
        cells = torch.where(inside, iy * grid.nx + ix, torch.full_like(ix, -1))
        return cells.view(*pixel_to_bev.shape[:2], self.depths, self.frustum.height, self.frustum.width)

    def pool(self, depth: Tensor, context: Tensor, cells: Tensor, kernel: Kernel | None = None) -> Tensor:
        """Sum of depth-weighted context in every cell: (B, C, ny, nx), in float32 at least.

        By a kernel of our own where there is a GPU; `kernel` forces one road (`bevlite.models.kernels.lss_pooling`).
        """
        pooled = lss_pooling.pool(depth, context, cells, self.grid.ny * self.grid.nx, kernel)
        return pooled.view(cells.shape[0], self.grid.ny, self.grid.nx, -1).permute(0, 3, 1, 2)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The camera BEV map."""
        depth, context = self.prepare(features)
        return self.pool(depth, context, self.cells(inputs["pixel_to_bev"]))

    def pooled(self, *tensors: Tensor) -> Tensor:
        """The sum by a tree of gathers, from depth (N, D, h, w), context (N, C, h, w) and the tables."""
        depth, context, depth_index, feature_index, *levels, cell_index = tensors
        channels = context.shape[1]
        zero = torch.zeros(1, dtype=depth.dtype)
        weights = torch.cat([zero, depth.reshape(-1)])
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        r1, chunk = depth_index.shape
        gathered = torch.index_select(rows, 0, feature_index.reshape(-1)).reshape(r1, chunk, channels)
        weight = torch.index_select(weights, 0, depth_index.reshape(-1)).reshape(r1, 1, chunk)
        table = torch.cat([torch.zeros(1, channels, dtype=context.dtype), (weight @ gathered).reshape(r1, channels)])
        for index in levels:
            sums = torch.index_select(table, 0, index.reshape(-1)).reshape(*index.shape, channels).sum(dim=1)
            table = torch.cat([table, sums])
        pooled = torch.index_select(table, 0, cell_index)
        return pooled.transpose(0, 1).reshape(1, channels, self.grid.ny, self.grid.nx)
