"""SECOND's FPN (Yan et al., Sensors 2018): every map brought to one stride, then concatenated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.models.contracts import FeatureInfo, MapNeckConfig
from bevlite.registry import LIDAR_NECKS


@LIDAR_NECKS.register
class SECFPNConfig(MapNeckConfig):
    """`channels` a map; the output has `channels` times the number of maps."""

    type: Literal["secfpn"] = "secfpn"
    channels: int = Field(default=128, gt=0)

    def possible_strides(self, strides: Sequence[int]) -> tuple[float, ...]:
        """Any stride that a power of two leads to from every map; here those of the maps themselves."""
        return tuple(strides)

    def build(self, feature_info: Sequence[FeatureInfo], out_stride: float) -> SECFPN:
        """The network part."""
        return SECFPN(feature_info, [self.channels] * len(feature_info), out_stride)


class SECFPN(nn.Module):
    """Maps of strides s_i to one map of `out_stride` with the channels of all, concatenated."""

    def __init__(self, feature_info: Sequence[FeatureInfo], channels: Sequence[int], out_stride: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                _resize(info.channels, width, info.stride / out_stride),
                nn.BatchNorm2d(width, eps=1e-3),
                nn.ReLU(inplace=True),
            )
            for info, width in zip(feature_info, channels, strict=True)
        )

    @property
    def out_channels(self) -> int:
        """The channels of all maps."""
        first: list[Any] = [block[0] for block in self.blocks]  # type: ignore[index]
        return sum(conv.out_channels for conv in first)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, sum of channels, H, W)."""
        return torch.cat([block(x) for block, x in zip(self.blocks, maps, strict=True)], dim=1)


def _resize(in_channels: int, out_channels: int, factor: float) -> nn.Module:
    """A transposed convolution where the map grows by `factor`, a strided one where it shrinks."""
    if factor >= 1:
        step = round(factor)
        if step == 1:
            return nn.Conv2d(in_channels, out_channels, 1, bias=False)
        return nn.ConvTranspose2d(in_channels, out_channels, step, step, bias=False)
    step = round(1 / factor)
    return nn.Conv2d(in_channels, out_channels, step, step, bias=False)
