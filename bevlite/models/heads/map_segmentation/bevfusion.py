"""Map segmentation head of BEVFusion (Liu et al., ICRA 2023): the map brought to 0.5 m, two convolutions, six classes.

The original samples the map with GridSample at constant places. Along each axis that is a constant matrix with two
entries a row, so here it is two products with constants: as exact, and no operator that INT8 or a DLA would refuse.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.data.classes import MAP_CLASSES
from bevlite.data.vector_map import MAP_GRID
from bevlite.grid import BEVGrid
from bevlite.models.contracts import HeadConfig
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import MAP_HEADS
from bevlite.tasks.map_segmentation import MAP

PRIOR = -2.19
"""Logit of 0.1: most cells belong to few of the classes."""


@MAP_HEADS.register
class BEVFusionMapConfig(HeadConfig):
    """Bilinear to 200 x 200 cells of 0.5 m, two 3x3 convolutions with BN and ReLU, 1x1 to the classes.

    channels: of the two convolutions; the original has as many as the encoded map.
    """

    type: Literal["bevfusion"] = "bevfusion"
    channels: int = Field(default=128, gt=0)

    def check(self, bev: BEVGrid) -> None:
        """Raise a ValueError unless the grid covers the scored +-50 m."""
        for axis, (low, high), (first, last) in (
            ("x", bev.x_range_m, MAP_GRID.x_range_m),
            ("y", bev.y_range_m, MAP_GRID.y_range_m),
        ):
            if low > first or high < last:
                raise ValueError(
                    f"heads.map_segmentation: found a BEV grid of {axis} [{low}, {high}] m; accepted: one that covers "
                    f"[{first:g}, {last:g}] m, where maps are scored"
                )

    def build(self, in_channels: int, bev: BEVGrid) -> BEVFusionMapHead:
        """The network part."""
        return BEVFusionMapHead(self, in_channels, bev)


class BEVFusionMapHead(nn.Module):
    """(B, C, ny, nx) to logits (B, 6, 200 y, 200 x)."""

    def __init__(self, config: BEVFusionMapConfig, in_channels: int, bev: BEVGrid) -> None:
        super().__init__()
        self.along_y: Tensor
        self.along_x: Tensor
        self.register_buffer("along_y", interpolation(bev.y_range_m, bev.ny, bev.cell_m, MAP_GRID.y_range_m[0]), False)
        along_x = interpolation(bev.x_range_m, bev.nx, bev.cell_m, MAP_GRID.x_range_m[0])
        self.register_buffer("along_x", along_x.T.contiguous(), False)
        self.convs = nn.Sequential(
            conv_bn_relu(in_channels, config.channels), conv_bn_relu(config.channels, config.channels)
        )
        self.predict = nn.Conv2d(config.channels, len(MAP_CLASSES), 1)
        assert self.predict.bias is not None
        nn.init.constant_(self.predict.bias, PRIOR)

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        """The raw map (see the class)."""
        resampled = self.along_y.to(bev.dtype) @ (bev @ self.along_x.to(bev.dtype))
        return {MAP: self.predict(self.convs(resampled))}


def interpolation(range_m: tuple[float, float], cells: int, cell_m: float, first_m: float) -> Tensor:
    """Matrix (200, cells) that takes values at the centres of cells to those of `MAP_GRID`, along one axis.

    Bilinear as GridSample with zero padding; of a grid that covers the scored range only the last half cell at a
    border can be outside.

    Args:
        range_m: of the map along this axis, in m.
        cells: how many it has.
        cell_m: their size in m.
        first_m: where `MAP_GRID` begins along this axis, in m.
    """
    wanted = first_m + (torch.arange(MAP_GRID.nx, dtype=torch.float64) + 0.5) * MAP_GRID.cell_m
    at = (wanted - range_m[0]) / cell_m - 0.5
    weights = (1 - (at[:, None] - torch.arange(cells, dtype=torch.float64)).abs()).clamp(min=0)
    return weights.float()
