"""SECOND's 2D backbone (Yan et al., Sensors 2018; parameters of mmdetection3d's PointPillars)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from operator import mul
from typing import Literal

from pydantic import model_validator
from torch import Tensor, nn

from bevlite.models.contracts import FeatureInfo, MapBackboneConfig
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import LIDAR_BACKBONES


class StagesConfig(MapBackboneConfig):
    """Stages of 3x3 convolutions; the first convolution of a stage has the stage's stride, `layers` more follow."""

    channels: tuple[int, ...] = (64, 128, 256)
    layers: tuple[int, ...] = (3, 5, 5)
    strides: tuple[Literal[1, 2], ...] = (2, 2, 2)

    @model_validator(mode="after")
    def _same_length(self) -> StagesConfig:
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


@LIDAR_BACKBONES.register
class SECONDConfig(StagesConfig):
    """Stages of dense convolutions."""

    type: Literal["second"] = "second"

    def build(self, in_channels: int) -> SECOND:
        """The network part."""
        return SECOND(in_channels, self.channels, self.layers, self.strides)


class SECOND(nn.Module):
    """(B, C, H, W) to one map a stage. `convolution` makes one with its norm and activation."""

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, ...],
        layers: tuple[int, ...],
        strides: tuple[int, ...],
        convolution: Callable[..., nn.Module] = conv_bn_relu,
    ) -> None:
        super().__init__()
        stages = []
        for width, depth, stride in zip(channels, layers, strides, strict=True):
            blocks = [convolution(in_channels, width, stride=stride, eps=1e-3)]
            blocks += [convolution(width, width, eps=1e-3) for _ in range(depth)]
            stages.append(nn.Sequential(*blocks))
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
