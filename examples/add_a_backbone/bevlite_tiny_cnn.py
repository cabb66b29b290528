"""A camera backbone of a package of its own: plain convolutions, one stage a stride."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from bevlite.models.contracts import Backbone, BackboneConfig, FeatureInfo
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import BACKBONES


@BACKBONES.register
class TinyCNNConfig(BackboneConfig):
    """Maps at strides 4, 8, 16 and 32 with `width` times 1, 2, 4 and 8 channels."""

    type: Literal["tiny_cnn"] = "tiny_cnn"
    width: int = Field(default=16, ge=8, multiple_of=8)

    def build(self) -> Backbone:
        """The network part."""
        return TinyCNN(self)


class TinyCNN(Backbone):
    """Images (B*N, 3, H, W) to four maps, finest first."""

    def __init__(self, config: TinyCNNConfig) -> None:
        super().__init__()
        widths = [config.width << i for i in range(4)]
        self.feature_info = [FeatureInfo(width, 4 << i) for i, width in enumerate(widths)]
        self.stem = conv_bn_relu(3, widths[0], stride=2)
        self.stages = nn.ModuleList(conv_bn_relu(a, b, stride=2) for a, b in pairwise([widths[0], *widths]))

    def forward(self, images: Tensor) -> list[Tensor]:
        """The maps."""
        maps = [self.stem(images)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]
