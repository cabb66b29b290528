"""CenterPoint head (Yin et al., CVPR 2021; six task groups and channels of mmdetection3d's centerpoint_pillar02)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import HeadConfig
from bevlite.models.heads.priors import BOX_BRANCHES, HEATMAP_BIAS, box_priors, start_at
from bevlite.models.layers import conv_bn_relu, separable_conv_bn_relu, split_for
from bevlite.registry import DETECTION_HEADS
from bevlite.tasks.detection import BOXES, GROUPS, HEATMAP, DenseForm


@DETECTION_HEADS.register
class CenterPointConfig(HeadConfig):
    """Shared 3x3, then per group of classes and branch a 3x3 with BN and ReLU and a 3x3.

    groups: `six` groups with box values of their own (CenterPoint), or `one` that all classes share.
    separable: the first two as depthwise and pointwise. True: the branches of a group share the depthwise kernel and
    have a pointwise one each, two layers a group. `by_branch`: both for each branch, as Horizon's head has it, twelve
    layers a group (0.241 M parameters from 384 channels instead of 0.224 M).
    """

    type: Literal["centerpoint"] = "centerpoint"
    channels: int = Field(default=64, gt=0)
    separable: bool | Literal["by_branch"] = False
    groups: Literal["six", "one"] = "six"

    def form(self, bev: BEVGrid) -> DenseForm:
        """Dense maps."""
        return DenseForm(bev, GROUPS[self.groups])

    def build(self, in_channels: int, bev: BEVGrid) -> CenterPointHead:
        """The network part."""
        return CenterPointHead(self, in_channels)


class CenterPointHead(nn.Module):
    """(B, C, ny, nx) to heat map logits (B, 10, ny, nx) and box values (B, 10 a group, ny, nx), group after group."""

    def __init__(self, config: CenterPointConfig, in_channels: int) -> None:
        super().__init__()
        groups = GROUPS[config.groups].groups
        block = separable_conv_bn_relu if config.separable else conv_bn_relu
        self.shared = block(in_channels, config.channels)
        # The hidden convolutions of a group's branches read the same map: in the dense form one convolution with the
        # channels of all is the same function.
        count, width = 1 + len(BOX_BRANCHES), config.channels
        self.hidden = nn.ModuleList(
            nn.ModuleList(block(width, width) for _ in range(count))
            if config.separable == "by_branch"
            else block(width, count * width)
            for _ in groups
        )
        self.heatmaps = nn.ModuleList(nn.Conv2d(config.channels, len(group), 3, padding=1) for group in groups)
        self.branches = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(config.channels, width, 3, padding=1) for _, width in BOX_BRANCHES) for _ in groups
        )
        for conv in self.heatmaps:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.constant_(conv.bias, HEATMAP_BIAS)
        for branches, group in zip(self.branches, groups, strict=True):
            assert isinstance(branches, nn.ModuleList)
            start_at(branches, box_priors(group))

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        """The raw maps."""
        shared = self.shared(bev)
        heat, boxes = [], []
        for hidden, heatmap, branches in zip(self.hidden, self.heatmaps, self.branches, strict=True):
            assert isinstance(branches, nn.ModuleList)
            if isinstance(hidden, nn.ModuleList):
                first, *parts = [block(shared) for block in hidden]
            else:
                first, *parts = split_for(hidden(shared), [heatmap, *branches])
            heat.append(heatmap(first))
            boxes += [conv(part) for conv, part in zip(branches, parts, strict=True)]
        return {HEATMAP: torch.cat(heat, dim=1), BOXES: torch.cat(boxes, dim=1)}
