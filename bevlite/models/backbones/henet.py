"""HENet-TinyM and TinyE: Horizon's plain CNN backbones for cars (structure as published with its hat toolkit).

Stem of two 3x3 stride-2 convolutions, four stages of depthwise blocks at strides 4/8/16/32 with space-to-depth
like 2x2 stride-2 convolutions between them, and a batch norm on each stage's output. The published code also
hands out stage 1 up-sampled to stride 2, which no BEV network here reads, so it is left out.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.models.contracts import Backbone, BackboneConfig, FeatureInfo
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import BACKBONES

GROUP_WIDTHS = {64: 64, 96: 48, 128: 64}


class Plan(NamedTuple):
    """What a HENet is made of, a value a stage: blocks, channels, expansion of a block, and kind of block."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    ratios: tuple[int, ...]
    blocks: tuple[str, ...]


TINY_M = Plan((4, 3, 8, 6), (64, 128, 192, 384), (2, 2, 2, 3), ("group", "group", "alternate", "plain"))
TINY_E = Plan((3, 3, 8, 6), (48, 96, 192, 384), (2, 2, 2, 3), ("plain", "group", "alternate", "plain"))


class HENetConfig(BackboneConfig):
    """HENet; `layer_scale` is the initial value of the per-channel scale of each residual branch.

    The published code does not forward its configured 1e-5, so the effective value is not known. 1e-5 would keep a
    network that is trained from nothing at the identity for long; 1 lets it learn at once.
    """

    plan: ClassVar[Plan]
    layer_scale: float = Field(default=1.0, gt=0)

    def build(self) -> Backbone:
        """The network part."""
        return HENet(self.plan, self.layer_scale)


@BACKBONES.register
class HENetTinyMConfig(HENetConfig):
    """HENet-TinyM."""

    type: Literal["henet_tinym"] = "henet_tinym"
    plan = TINY_M


@BACKBONES.register
class HENetTinyEConfig(HENetConfig):
    """HENet-TinyE: narrower at the fine strides."""

    type: Literal["henet_tinye"] = "henet_tinye"
    plan = TINY_E


class DepthwiseBlock(nn.Module):
    """Depthwise convolution + BN, 1x1 expansion, GELU, 1x1 projection, channel scale, plus the input.

    kind: `plain` and `group` use a 3x3 depthwise kernel, `alternate` 1x5 and 5x1 in turn; `group` splits the
    expansion into groups of the width that GROUP_WIDTHS gives.
    """

    channel_parameters = ("scale",)

    def __init__(self, channels: int, ratio: int, kind: str, index: int, layer_scale: float) -> None:
        super().__init__()
        kernel = (3, 3) if kind != "alternate" else ((1, 5) if index % 2 == 0 else (5, 1))
        padding = (kernel[0] // 2, kernel[1] // 2)
        self.mix = nn.Conv2d(channels, channels, kernel, padding=padding, groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        groups = channels // GROUP_WIDTHS[channels] if kind == "group" else 1
        self.expand = nn.Conv2d(channels, ratio * channels, 1, groups=groups)
        self.project = nn.Conv2d(ratio * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        branch = self.project(nn.functional.gelu(self.expand(self.norm(self.mix(x)))))
        return x + self.scale * branch


class HENet(Backbone):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32 of the plan's channels."""

    def __init__(self, plan: Plan, layer_scale: float = 1.0) -> None:
        super().__init__()
        widths = plan.widths
        self.feature_info = [FeatureInfo(width, 4 << i) for i, width in enumerate(widths)]
        self.stem = nn.Sequential(
            conv_bn_relu(3, widths[0] // 2, stride=2), conv_bn_relu(widths[0] // 2, widths[0], stride=2)
        )
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 2, stride=2, bias=False), nn.BatchNorm2d(b)) for a, b in pairwise(widths)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(DepthwiseBlock(width, ratio, kind, i, layer_scale) for i in range(depth)))
            for depth, width, ratio, kind in zip(*plan, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four maps, finest first."""
        x = self.stem(images)
        maps = []
        for i, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            x = stage(self.downs[i - 1](x) if i else x)
            maps.append(norm(x))
        return maps
