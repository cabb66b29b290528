"""CenterPoint head (Yin et al., CVPR 2021; six task groups and channels of mmdetection3d's centerpoint_pillar02)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import HeadConfig
from bevlite.models.layers import conv_bn_relu, separable_conv_bn_relu
from bevlite.registry import DETECTION_HEADS

TASKS = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)
CLASSES = tuple(name for task in TASKS for name in task)
"""Channel order of the heat map."""
BOX_BRANCHES = (("offset", 2), ("height", 1), ("size", 3), ("yaw", 2), ("velocity", 2))
"""Branches of a task's box map: sub-cell offset (cells), z (m), log l, w, h (log m), sin and cos, vx and vy (m/s)."""
BOX_CHANNELS = sum(width for _, width in BOX_BRANCHES)
HEATMAP_BIAS = -2.19  # a prior of 0.1 for every cell
MEAN_SIZES_M = (
    (4.6, 1.95, 1.7),
    (6.8, 2.6, 2.9),
    (11.7, 2.95, 3.6),
    (0.5, 2.5, 1.0),
    (1.9, 0.7, 1.4),
    (0.6, 0.55, 1.4),
)
"""Typical l, w, h of each task's classes in nuScenes (after mmdetection3d's anchors): where the size branch starts."""


@DETECTION_HEADS.register
class CenterPointConfig(HeadConfig):
    """Shared 3x3, then per task and branch a 3x3 with BN and ReLU and a 3x3.

    separable: the first two as depthwise and pointwise; the branches of a task then share the depthwise kernel and
    have a pointwise one each (Horizon's head has both for each branch: 0.241 M parameters instead of 0.224 M).
    """

    type: Literal["centerpoint"] = "centerpoint"
    channels: int = Field(default=64, gt=0)
    separable: bool = False

    def build(self, in_channels: int, bev: BEVGrid) -> CenterPointHead:
        """The network part."""
        return CenterPointHead(self, in_channels)


class CenterPointHead(nn.Module):
    """(B, C, ny, nx) to `heatmap` (B, 10, ny, nx), logits, and `boxes` (B, 6 * 10, ny, nx), task after task."""

    def __init__(self, config: CenterPointConfig, in_channels: int) -> None:
        super().__init__()
        block = separable_conv_bn_relu if config.separable else conv_bn_relu
        self.shared = block(in_channels, config.channels)
        self.width = config.channels
        # The hidden convolutions of a task's branches read the same map: in the dense form one convolution with the
        # channels of all is the same function.
        hidden = config.channels * (1 + len(BOX_BRANCHES))
        self.hidden = nn.ModuleList(block(config.channels, hidden) for _ in TASKS)
        self.heatmaps = nn.ModuleList(nn.Conv2d(config.channels, len(task), 3, padding=1) for task in TASKS)
        self.branches = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(config.channels, width, 3, padding=1) for _, width in BOX_BRANCHES) for _ in TASKS
        )
        for conv in self.heatmaps:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.constant_(conv.bias, HEATMAP_BIAS)
        for branches, size in zip(self.branches, MEAN_SIZES_M, strict=True):
            assert isinstance(branches, nn.ModuleList)
            priors = {"offset": (0.5, 0.5), "height": (size[2] / 2,), "size": tuple(math.log(v) for v in size)}
            for (name, _), conv in zip(BOX_BRANCHES, branches, strict=True):
                assert isinstance(conv, nn.Conv2d) and conv.bias is not None
                if name in priors:
                    conv.bias.data.copy_(torch.tensor(priors[name]))

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        """The raw maps."""
        shared = self.shared(bev)
        heat, boxes = [], []
        for hidden, heatmap, branches in zip(self.hidden, self.heatmaps, self.branches, strict=True):
            parts = hidden(shared).split(self.width, dim=1)
            heat.append(heatmap(parts[0]))
            assert isinstance(branches, nn.ModuleList)
            boxes += [conv(part) for conv, part in zip(branches, parts[1:], strict=True)]
        return {"heatmap": torch.cat(heat, dim=1), "boxes": torch.cat(boxes, dim=1)}
