"""Lift-splat (Philion and Fidler, ECCV 2020): a depth distribution a pixel, pooled exactly on the BEV grid.

Training adds the weighted features to their cells (bevlite.models.kernels.lss_pooling); the exported module computes
the same sum with tables of the calibration as inputs, in one of two forms: a tree of gathers
(bevlite.runtime.pooling), or products by image columns and a small tree (bevlite.runtime.columns).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import ViewTransform
from bevlite.models.kernels import lss_pooling
from bevlite.models.kernels.lss_pooling import Kernel
from bevlite.models.layers import conv_bn_relu
from bevlite.models.view_transforms.lift import Lift, LiftConfig
from bevlite.models.view_transforms.lss_tables import FORMS, Form, border_to_border
from bevlite.registry import VIEW_TRANSFORMS

COLUMNS_CHUNK = 4
"""Few cells are reached by more than four columns: larger chunks would be mostly empty."""


@VIEW_TRANSFORMS.register
class LSSConfig(LiftConfig):
    """Lift-splat. Depth bins are centred at depth_range_m[0] + (k + 0.5) * depth_step_m.

    pooling: the form that is exported, `tree` or `columns`; what is trained is the same. chunk: S, rows that a level
    of gathers adds up (4 by default with `columns`). capacity: rows of the levels (`columns`: groups of 32 slots, then
    rows), null for a nuScenes-like rig with a margin.
    pixels: where a feature looks: the `centre` of its patch, or spread from `border` to border, as in the first
    implementations, whose weights want it so.
    halved: pool on cells half as large, and bring the map to the grid by three convolutions, the second at stride 2
    (BEVFusion).
    ego_motion: correct the car's motion between camera and LiDAR times; the tables then change every frame.
    """

    added: ClassVar[Mapping[str, Any]] = {**LiftConfig.added, "pooling": "tree", "pixels": "centre", "halved": False}
    type: Literal["lss"] = "lss"
    pooling: Form = "tree"
    pixels: Literal["centre", "border"] = "centre"
    halved: bool = False
    chunk: int = Field(default=8, ge=2, le=64)
    capacity: tuple[int, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _chunk(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("pooling") == "columns":
            return {"chunk": COLUMNS_CHUNK, **given}
        return given

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part."""
        return LiftSplat(self, in_channels, stride, image_size, cameras, bev)


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
        self.halving: nn.Module = nn.Identity()
        if config.halved:
            self.grid = replace(self.grid, cell_m=bev.cell_m / 2, nx=2 * bev.nx, ny=2 * bev.ny)
            width = config.channels
            self.halving = nn.Sequential(*(conv_bn_relu(width, width, stride=step) for step in (1, 2, 1)))
        tables = FORMS[config.pooling]
        self.form = tables.form
        spread = border_to_border(self.frustum, image_size) if config.pixels == "border" else None
        self.host = tables(self.frustum, self.grid, config.chunk, config.capacity, cameras, image_size, spread)
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
        return self.laid_out(depth, context, inputs["pixel_to_bev"])

    def laid_out(self, depth: Tensor, context: Tensor, pixel_to_bev: Tensor) -> Tensor:
        """The camera BEV map (B, C, ny, nx) of what was lifted."""
        made: Tensor = self.halving(self.pool(depth, context, self.cells(pixel_to_bev)))
        return made

    @property
    def out_channels(self) -> int:
        """Channels of the context, or of what halves its map."""
        last = self.halving[-1][0] if isinstance(self.halving, nn.Sequential) else None  # type: ignore[index]
        return self.context_channels if last is None else int(last.out_channels)

    def pooled(self, *tensors: Tensor) -> Tensor:
        """The sum as exported, from depth (N, D, h, w), context (N, C, h, w) and the tables: (1, C, ny, nx)."""
        rows = _by_columns(*tensors) if self.form == "columns" else _by_tree(*tensors)
        made: Tensor = self.halving(rows.transpose(0, 1).reshape(1, rows.shape[1], self.grid.ny, self.grid.nx))
        return made


def _by_tree(depth: Tensor, context: Tensor, *tables: Tensor) -> Tensor:
    """Rows (ny * nx, C) by a tree of gathers."""
    depth_index, feature_index, *levels, cell_index = tables
    channels = context.shape[1]
    weights = torch.cat([torch.zeros(1, dtype=depth.dtype, device=depth.device), depth.reshape(-1)])
    rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
    r1, chunk = depth_index.shape
    gathered = torch.index_select(rows, 0, feature_index.reshape(-1)).reshape(r1, chunk, channels)
    weight = torch.index_select(weights, 0, depth_index.reshape(-1)).reshape(r1, 1, chunk)
    zero = torch.zeros(1, channels, dtype=context.dtype, device=context.device)
    table = torch.cat([zero, (weight @ gathered).reshape(r1, channels)])
    for index in levels:
        table = torch.cat([table, _summed(table, index)])
    return torch.index_select(table, 0, cell_index)


def _by_columns(depth: Tensor, context: Tensor, *tables: Tensor) -> Tensor:
    """Rows (ny * nx, C) by a product for every group of slots, and a small tree of gathers."""
    column_index, depth_index, *levels, cell_index = tables
    channels = context.shape[1]
    groups, _, height = depth_index.shape
    weights = torch.cat([torch.zeros(1, dtype=depth.dtype, device=depth.device), depth.reshape(-1)])
    columns = context.permute(0, 3, 2, 1).reshape(-1, height * channels)
    features = torch.index_select(columns, 0, column_index).reshape(groups, height, channels)
    weight = torch.index_select(weights, 0, depth_index.reshape(-1)).reshape(depth_index.shape)
    rows = [(weight @ features).reshape(-1, channels)]
    for index in levels:
        rows.append(_summed(rows[-1], index))
    return torch.index_select(torch.cat(rows), 0, cell_index)


def _summed(table: Tensor, index: Tensor) -> Tensor:
    """Rows of a table (R, C) added up as an index (R', S) says: (R', C)."""
    return torch.index_select(table, 0, index.reshape(-1)).reshape(*index.shape, table.shape[1]).sum(dim=1)
