"""BEV encoder of BEVDet and FlashOcc (Huang et al., arXiv 2112.11790): a small ResNet, then FPN_LSS.

FlashOcc M1 has it with 256 output channels, M0 with 128, on 200 x 200 cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.contracts import BEVEncoderConfig
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import BEV_ENCODERS


@BEV_ENCODERS.register
class FPNLSSConfig(BEVEncoderConfig):
    """Stages of residual blocks, each at half the size; the last is enlarged, joined with the first, and both brought
    back to the grid.

    channels, blocks: of each stage.
    align_corners: whether enlarged maps keep their corners, as BEVDet's do, or the middle of their cells in place, as
        all other maps here do. The first moves what is enlarged by up to half a coarse cell against what it joins;
        weights that were trained so want it so.
    """

    added: ClassVar[Mapping[str, Any]] = {"align_corners": False}
    type: Literal["fpn_lss"] = "fpn_lss"
    channels: tuple[Annotated[int, Field(gt=0)], ...] = (128, 256, 512)
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = (2, 2, 2)
    out_channels: int = Field(default=256, gt=0)
    align_corners: bool = False

    @model_validator(mode="after")
    def _same_length(self) -> FPNLSSConfig:
        if not (len(self.channels) == len(self.blocks) >= 2):
            raise ValueError(
                f"found {len(self.channels)} channels and {len(self.blocks)} blocks; "
                "accepted: as many of each, at least 2"
            )
        return self

    @property
    def total_stride(self) -> int:
        """Stride of the coarsest stage."""
        return 1 << len(self.channels)

    def build(self, in_channels: int) -> FPNLSS:
        """The network part."""
        return FPNLSS(self, in_channels)


class FPNLSS(nn.Module):
    """(B, C, ny, nx) to (B, out_channels, ny, nx)."""

    def __init__(self, config: FPNLSSConfig, in_channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(Residual(a, b, stride=2), *(Residual(b, b) for _ in range(blocks - 1)))
            for (a, b), blocks in zip(pairwise([in_channels, *config.channels]), config.blocks, strict=True)
        )
        self.align_corners = config.align_corners
        self.growth = 2.0 ** (len(config.channels) - 1)
        wide, self.out_channels = 2 * config.out_channels, config.out_channels
        self.join = nn.Sequential(
            conv_bn_relu(config.channels[0] + config.channels[-1], wide), conv_bn_relu(wide, wide)
        )
        self.out = nn.Sequential(
            conv_bn_relu(wide, config.out_channels), nn.Conv2d(config.out_channels, config.out_channels, 1)
        )

    def forward(self, bev: Tensor) -> Tensor:
        """The encoded map."""
        maps = []
        for stage in self.stages:
            bev = stage(bev)
            maps.append(bev)
        joined = self.join(torch.cat([maps[0], self._grown(maps[-1], self.growth)], dim=1))
        encoded: Tensor = self.out(self._grown(joined, 2.0))
        return encoded

    def _grown(self, x: Tensor, factor: float) -> Tensor:
        # A literal factor exports as constant scales, which every TensorRT reads.
        return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=self.align_corners)


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm, and the map itself: through a 3x3 with bias where stride or width differ.

    That 3x3, without a norm, is BEVDet's; a ResNet has a 1x1 with one.
    """

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_bn_relu(in_channels, channels, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        same = stride == 1 and in_channels == channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, channels, 3, stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, channels, H/stride, W/stride)."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))
