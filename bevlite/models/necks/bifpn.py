"""BiFPN (Tan et al., CVPR 2020) with the wiring of Horizon's: plain sum or fast-normalised attention.

Levels P1 (finest) to PL. A layer goes top-down, P'(L-1) to P'1, and bottom-up again, P''2 to P''L; a middle node of the
way up sums three maps: its level as it came in, its level on the way down, and the level below. Every edge whose
channels differ has a 1x1 of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.contracts import FeatureInfo, Neck, NeckConfig, nearest_sizes, refuse_stride
from bevlite.registry import NECKS

FusionKind = Literal["sum", "attention"]
"""How a node merges maps: added, or weighted by learnt positive shares (`bifpn_sum` and `bifpn_fa` of EfficientDet)."""
EPSILON = 1e-4


@NECKS.register
class BiFPNConfig(NeckConfig):
    """`levels` from the backbone's map of `finest_stride` on, in a row of layers; the map of `out_stride` goes on.

    levels: those above the backbone's last are made by 1x1 and max-pools, each twice as coarse.
    stack: how many layers.
    """

    added: ClassVar[Mapping[str, Any]] = {"finest_stride": 4}

    type: Literal["bifpn"] = "bifpn"
    channels: int = Field(default=64, gt=0)
    out_stride: Literal[4, 8, 16, 32, 64, 128] = 16
    finest_stride: Literal[4, 8, 16] = 4
    levels: int = Field(default=5, ge=3, le=7)
    stack: int = Field(default=3, ge=1, le=8)
    fusion: FusionKind = "sum"

    def check(self, strides: Sequence[int], height: int, width: int) -> None:
        """Raise a ValueError unless `out_stride` is one of the levels, and all of them divide the images."""
        if self.finest_stride not in strides:
            names = ", ".join(str(stride) for stride in strides if stride in (4, 8, 16)) or "none"
            raise ValueError(
                f"camera.neck.finest_stride: found {self.finest_stride}; accepted: {names} (strides of the backbone)"
            )
        reached = [self.finest_stride << i for i in range(self.levels)]
        if self.out_stride > reached[-1]:
            needed = (self.out_stride // self.finest_stride).bit_length()
            raise ValueError(
                f"camera.neck.levels: found {self.levels}, of strides {', '.join(map(str, reached))}, and out_stride "
                f"{self.out_stride}; accepted: levels {needed} or more"
            )
        refuse_stride(self.out_stride, reached, "strides of the levels")
        if height % reached[-1] or width % reached[-1]:
            most = sum(height % stride == width % stride == 0 for stride in reached)
            sizes = nearest_sizes((height, width), reached[-1])
            raise ValueError(
                f"camera.neck.levels: found {self.levels}, down to stride {reached[-1]}, on images of {height} x "
                f"{width} px; accepted: {most} levels at most, or images of {sizes} px"
            )

    def build(self, feature_info: Sequence[FeatureInfo]) -> Neck:
        """The network part for maps of these channels and strides."""
        return BiFPNNeck(self, feature_info)


class BiFPNNeck(Neck):
    """Maps (B*N, C_i, H_i, W_i) to one map (B*N, channels, H/out_stride, W/out_stride)."""

    def __init__(self, config: BiFPNConfig, feature_info: Sequence[FeatureInfo]) -> None:
        super().__init__()
        self.skipped = sum(info.stride < config.finest_stride for info in feature_info)
        level = (config.out_stride // config.finest_stride).bit_length() - 1
        channels = [info.channels for info in feature_info[self.skipped :]]
        self.bifpn = BiFPN(channels, config.channels, config.levels, config.stack, config.fusion, level)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The map of `out_stride`."""
        found: Tensor = self.bifpn(maps[self.skipped :])[-1]
        return found


class BiFPN(nn.Module):
    """Maps (B, C_i, H/2^i, W/2^i), finest first, to as many levels (B, channels, H/2^i, W/2^i), finest first.

    last: the coarsest level that is read (0 the finest): the last layer makes none that is coarser; None for all.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        levels: int,
        stack: int,
        fusion: FusionKind,
        last: int | None = None,
    ) -> None:
        super().__init__()
        widths = list(in_channels[:levels])
        self.given = len(widths)
        more = levels - self.given
        self.extra = nn.ModuleList(_shrink(widths[-1] if i == 0 else channels, channels) for i in range(more))
        widths += [channels] * more
        layers = []
        for number in range(stack):
            top = last if last is not None and number == stack - 1 else levels - 1
            layers.append(_Layer(widths, channels, fusion, top))
            widths = [channels] * levels
        self.layers = nn.ModuleList(layers)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The levels up to the coarsest that is read."""
        levels = list(maps[: self.given])
        for shrink in self.extra:
            levels.append(shrink(levels[-1]))
        for layer in self.layers:
            levels = layer(levels)
        return levels


class _Layer(nn.Module):
    """One way down and up again."""

    def __init__(self, widths: Sequence[int], channels: int, fusion: FusionKind, top: int) -> None:
        super().__init__()
        levels, coarsest = len(widths), widths[-1]
        self.down = nn.ModuleList()  # from the second coarsest level to the finest
        for level in reversed(range(levels - 1)):
            above = coarsest if level == levels - 2 else channels
            self.down.append(_Node([_fit(widths[level], channels), _grow(above, channels)], channels, fusion))
        self.up = nn.ModuleList()  # from the second finest level to `top`
        for level in range(1, top + 1):
            edges = [_fit(widths[level], channels)]
            if level < levels - 1:
                edges.append(nn.Identity())
            self.up.append(_Node([*edges, _shrink(channels, channels)], channels, fusion))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C_i, h_i, w_i), finest first, to those up to `top`, (N, C, h_i, w_i)."""
        x = maps[-1]
        way = [x]
        for node, one in zip(self.down, reversed(maps[:-1]), strict=True):
            x = node([one, x])
            way.append(x)
        way.reverse()
        found = [x]
        for level, node in enumerate(self.up, start=1):
            middle = [way[level]] if level < len(maps) - 1 else []
            x = node([maps[level], *middle, x])
            found.append(x)
        return found


class _Node(nn.Module):
    """Maps through an edge each, merged, ReLU, depthwise 3x3, 1x1, batch norm."""

    def __init__(self, edges: Sequence[nn.Module], channels: int, fusion: FusionKind) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)
        self.weights = nn.Parameter(torch.ones(len(edges))) if fusion == "attention" else None
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """One map for each edge, of one size after it, to (N, C, h, w)."""
        reached = [edge(one) for edge, one in zip(self.edges, maps, strict=True)]
        if self.weights is not None:
            # Fast-normalised: positive, summing to nearly one. It follows from weights alone, so the export folds it.
            positive = torch.relu(self.weights)
            shares = (positive / (positive.sum() + EPSILON)).unbind()
            reached = [one * share for one, share in zip(reached, shares, strict=True)]
        x = reached[0]
        for one in reached[1:]:
            x = x + one
        mixed: Tensor = self.mix(functional.relu(x))
        return mixed


class _Up(nn.Module):
    """Twice the size, bilinear."""

    def forward(self, x: Tensor) -> Tensor:
        # A literal factor exports as constant scales, which every TensorRT reads.
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _fit(in_channels: int, channels: int) -> nn.Module:
    """1x1 and batch norm where the channels differ."""
    if in_channels == channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, bias=False), nn.BatchNorm2d(channels))


def _grow(in_channels: int, channels: int) -> nn.Module:
    return nn.Sequential(_fit(in_channels, channels), _Up())


def _shrink(in_channels: int, channels: int) -> nn.Module:
    return nn.Sequential(_fit(in_channels, channels), nn.MaxPool2d(2, 2))
