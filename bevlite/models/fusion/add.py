"""AddFuser of BEVFusion (Liu et al., ICRA 2023; mit-han-lab/bevfusion): the sum of both maps, each projected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from bevlite.models.contracts import FusionConfig
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import FUSIONS


@FUSIONS.register
class AddFusionConfig(FusionConfig):
    """Every map to `channels` by a convolution with BN and ReLU of its own, then added. Takes a single stream as well.

    kernel: of the projections; 3 as published, 1 for a ninth of the cost.
    """

    type: Literal["add"] = "add"
    channels: int = Field(default=256, gt=0)
    kernel: Literal[1, 3] = 3

    def build(self, in_channels: Sequence[int]) -> AddFusion:
        """The network part."""
        return AddFusion(in_channels, self.channels, self.kernel)


class AddFusion(nn.Module):
    """Maps (B, C_i, ny, nx) to (B, channels, ny, nx)."""

    def __init__(self, in_channels: Sequence[int], channels: int, kernel: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList(conv_bn_relu(width, channels, kernel) for width in in_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The fused map."""
        first, *others = [project(one) for project, one in zip(self.projections, maps, strict=True)]
        fused: Tensor = first
        for one in others:
            fused = fused + one
        return fused
