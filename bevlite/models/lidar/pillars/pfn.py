"""Pillars by convolution: the pillar feature nets of PointPillars (Lang et al., CVPR 2019) and of Horizon, and the
gather that lays pillars out on the canvas.

Points are grouped outside the network (bevlite.runtime.pillars). The canvas is filled by one Gather from
pillar slots instead of a scatter: no plugin, no index that must be unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.data.frame import Frame, Ragged
from bevlite.grid import BEVGrid
from bevlite.kernels.pillars import pillar_step
from bevlite.kernels.step import Floats, Step
from bevlite.models.contracts import Host, PillarEncoder, PillarEncoderConfig, TensorSpec
from bevlite.models.deployed import is_deployed
from bevlite.registry import PILLAR_ENCODERS
from bevlite.runtime.pillars import NUMBERS, Coordinates, PillarGrid, group_pillars

BEV_ORIGIN = (0.0, 0.0, 0.0)
"""Of the BEV frame itself, in m."""


@PILLAR_ENCODERS.register
class PFNConfig(PillarEncoderConfig):
    """1x1 convolution, batch norm, ReLU, maximum over the points of a pillar.

    coordinates: what the numbers of a point are, five but for `offsets`. `absolute`: x, y, z, intensity scaled to
    [0, 1] over the range, and the time lag in s (Horizon). `pillar`: x and y relative to the centre of the pillar in
    cells [-0.5, 0.5], z scaled to [-1, 1], intensity to [0, 1], time lag in s; the convolution over the canvas knows
    the place anyway, and 16-bit and 8-bit arithmetic then resolve millimetres instead of decimetres. `offsets`: ten,
    x, y, z in m, intensity in [0, 1], time lag in s, x and y from the centre of the pillar, and x, y, z from the mean
    of its points, all in m (PointPillars). `offsets_3d`: eleven, with z from the middle of `z_range_m` after x and y
    from the centre (mmdetection3d from 1.0 on).
    origin_m: where x, y and z of these two count from, in the BEV frame: the LiDAR, for weights that were trained in
    its frame. Rows of zeros that fill up a pillar then mean what they meant there.
    """

    added: ClassVar[Mapping[str, Any]] = {"origin_m": [0.0, 0.0, 0.0]}

    type: Literal["pfn"] = "pfn"
    cell_m: float = Field(default=0.2, gt=0)
    z_range_m: tuple[float, float] = (-3.2, 4.8)
    max_pillars: int = Field(default=40000, gt=0)
    max_points: int = Field(default=20, gt=0)
    channels: int = Field(default=64, gt=0)
    coordinates: Coordinates = "pillar"
    origin_m: tuple[float, float, float] = BEV_ORIGIN

    @model_validator(mode="after")
    def _has_an_origin(self) -> PFNConfig:
        if self.origin_m != BEV_ORIGIN and self.coordinates not in ("offsets", "offsets_3d"):
            raise ValueError(
                f"origin_m: found {list(self.origin_m)} with coordinates {self.coordinates}; accepted: with offsets or "
                "offsets_3d"
            )
        return self

    def build(self, bev: BEVGrid) -> PFN:
        """The network part."""
        return PFN(self, bev)

    def grid(self, bev: BEVGrid) -> PillarGrid:
        """How points are grouped over the range of a BEV grid."""
        canvas = BEVGrid(x_range_m=bev.x_range_m, y_range_m=bev.y_range_m, cell_m=self.cell_m)
        return PillarGrid(
            x_min=canvas.x_range_m[0],
            y_min=canvas.y_range_m[0],
            cell_m=self.cell_m,
            nx=canvas.nx,
            ny=canvas.ny,
            z_min=self.z_range_m[0],
            z_max=self.z_range_m[1],
            max_pillars=self.max_pillars,
            max_points=self.max_points,
            coordinates=self.coordinates,
            origin_m=self.origin_m,
        )


class Pillars(Host):
    """Points grouped into pillars: a batch holds as many as are used, an engine has room for `max_pillars`."""

    needs = frozenset({"points"})
    ragged = {"pillars": Ragged(2, 0.0)}

    def __init__(self, grid: PillarGrid) -> None:
        self.grid = grid
        shape = (1, NUMBERS[grid.coordinates], grid.max_points, grid.max_pillars)
        self.inputs = (
            TensorSpec("pillars", shape, "float32", ("batch", "feature", "point", "pillar"), "points"),
            TensorSpec("pillar_index", (1, grid.ny, grid.nx), "int32", ("batch", "y", "x"), "points"),
        )

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """`pillars` (F, M, V) and `pillar_index` (ny, nx)."""
        assert frame.points is not None
        pillars, index = group_pillars(frame.points, self.grid)
        return {"pillars": pillars, "pillar_index": index}

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """Pillars from raw points."""
        return (pillar_step(self.grid, sweeps, points, floats=floats),)

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Filled up with empty pillars."""
        used, room = sample["pillars"], self.grid.max_pillars
        pillars = np.zeros(self.inputs[0].shape, dtype=np.float32)
        pillars[0, :, :, : min(used.shape[2], room)] = used[:, :, :room]
        return {"pillars": pillars, "pillar_index": sample["pillar_index"][None]}

    def on_board(self) -> list[dict[str, Any]]:
        """Points grouped on the same grid."""
        return [{"step": "pillars", "grid": asdict(self.grid)}]


class PFN(PillarEncoder):
    """Pillars (B, F, M, P) and index (B, ny, nx) to the canvas (B, channels, ny, nx).

    Index 0 is an empty cell, index s + 1 the pillar in slot s.
    """

    def __init__(self, config: PFNConfig, bev: BEVGrid) -> None:
        super().__init__()
        self.host = Pillars(config.grid(bev))
        self.conv = nn.Conv2d(NUMBERS[config.coordinates], config.channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(config.channels, eps=1e-3)

    def encode(self, pillars: Tensor) -> Tensor:
        """(B, F, M, P) to (B, channels, P)."""
        return torch.relu(self.norm(self.conv(pillars))).amax(dim=2)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The canvas."""
        pillars, index = inputs["pillars"], inputs["pillar_index"]
        if is_deployed():
            return self._layout(self.encode(pillars), index)
        # Unused slots would dilute the statistics of the batch norm and cost most of the time: leave them out.
        batch, _, points, slots = pillars.shape
        used = index.flatten(1).amax(dim=1)
        valid = torch.arange(slots, device=pillars.device) < used[:, None]
        packed = pillars.permute(0, 3, 2, 1)[valid]  # (V, M, F)
        start = torch.cumsum(used, 0) - used
        cell = torch.nonzero(index.flatten()).squeeze(1)
        row = (index + start[:, None, None]).flatten()[cell] - 1
        cell_of_row = torch.empty_like(cell)
        cell_of_row[row.long()] = cell
        canvas = pillars.new_zeros(index.numel(), self.conv.out_channels)
        if len(packed) > 1:  # a batch norm in training needs more than one value
            # As a matrix product: a convolution would be tuned anew for every number of pillars.
            hidden = nn.functional.linear(packed.flatten(0, 1), self.conv.weight.flatten(1))
            hidden = torch.relu(self.norm(hidden[:, :, None, None])).view(-1, points, hidden.shape[1])
            encoded = hidden.amax(dim=1)
            canvas = canvas.to(encoded.dtype).index_copy(0, cell_of_row, encoded)
        return canvas.view(batch, *index.shape[1:], -1).permute(0, 3, 1, 2)

    @staticmethod
    def _layout(encoded: Tensor, index: Tensor) -> Tensor:
        """One Gather of whole rows (P + 1, channels) by (ny * nx), for a batch of one."""
        channels, ny, nx = encoded.shape[1], index.shape[1], index.shape[2]
        rows = encoded[0].transpose(0, 1)
        table = torch.cat([torch.zeros(1, channels, dtype=rows.dtype, device=rows.device), rows], dim=0)
        canvas = torch.index_select(table, 0, index.reshape(ny * nx))
        return canvas.transpose(0, 1).reshape(1, channels, ny, nx)
