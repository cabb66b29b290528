"""SECOND's 2D backbone (Yan et al., Sensors 2018; parameters of mmdetection3d's PointPillars)."""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

from bevlite.models.contracts import FeatureInfo, MapBackboneConfig
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import LIDAR_BACKBONES


@LIDAR_BACKBONES.register
class SECONDConfig(MapBackboneConfig):
    """Stages of 3x3 convolutions; the first convolution of a stage has the stage's stride, `layers` more follow."""

    type: Literal["second"] = "second"
    channels: tuple[int, ...] = (64, 128, 256)
    layers: tuple[int, ...] = (3, 5, 5)
    strides: tuple[Literal[1, 2], ...] = (2, 2, 2)

    @model_validator(mode="after")
    def _same_length(self) -> SECONDConfig:
        if not (len(self.channels) == len(self.layers) == len(self.strides) > 0):
            raise ValueError(
                f"found {len(self.channels)} channels, {len(self.layers)} layers, {len(self.strides)} strides; "
                "accepted: as many of each, one a stage"
            )
        return self

    @property
    def cumulative_strides(self) -> tuple[int, ...]:
        """Stride of every map with respect to the canvas."""
        return tuple(accumulate(self.strides, mul))

    def build(self, in_channels: int) -> SECOND:
        """The network part."""
        return SECOND(in_channels, self.channels, self.layers, self.strides)


class SECOND(nn.Module):
    """(B, C, H, W) to one map a stage."""

    def __init__(
        self, in_channels: int, channels: tuple[int, ...], layers: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        super().__init__()
        stages = []
        for width, depth, stride in zip(channels, layers, strides, strict=True):
            block = [conv_bn_relu(in_channels, width, stride=stride, eps=1e-3)]
            block += [conv_bn_relu(width, width, eps=1e-3) for _ in range(depth)]
            stages.append(nn.Sequential(*block))
            in_channels = width
        self.stages = nn.ModuleList(stages)
        self.feature_info = [FeatureInfo(c, s) for c, s in zip(channels, accumulate(strides, mul), strict=True)]

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map a stage, finest first."""
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps
