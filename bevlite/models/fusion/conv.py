"""ConvFuser of BEVFusion (Liu et al., ICRA 2023; mit-han-lab/bevfusion): one 3x3 over both maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.models.contracts import FusionConfig
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import FUSIONS


@FUSIONS.register
class ConvFusionConfig(FusionConfig):
    """Concatenate (camera, LiDAR), 3x3 to `channels`, BN, ReLU. Takes a single stream as well."""

    type: Literal["conv"] = "conv"
    channels: int = Field(default=256, gt=0)

    def build(self, in_channels: Sequence[int]) -> ConvFusion:
        """The network part."""
        return ConvFusion(sum(in_channels), self.channels)


class ConvFusion(nn.Module):
    """Maps (B, C_i, ny, nx) to (B, channels, ny, nx)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.mix = conv_bn_relu(in_channels, channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The fused map."""
        fused: Tensor = self.mix(torch.cat(list(maps), dim=1) if len(maps) > 1 else maps[0])
        return fused
