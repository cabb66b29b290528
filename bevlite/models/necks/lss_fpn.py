"""LSS-FPN: the top-down neck of BEVFusion (GeneralizedLSSFPN of mit-han-lab/bevfusion)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.contracts import FeatureInfo, Neck, NeckConfig, refuse_stride
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import NECKS


@NECKS.register
class LSSFPNConfig(NeckConfig):
    """Top-down from stride 32 to `out_stride`: up-sample, concatenate, 1x1 and 3x3 convolution at each level."""

    type: Literal["lss_fpn"] = "lss_fpn"
    channels: int = Field(default=256, gt=0)
    out_stride: Literal[4, 8, 16] = 16

    def check(self, strides: Sequence[int], height: int, width: int) -> None:
        """Raise a ValueError unless there is a coarser map to merge with."""
        refuse_stride(self.out_stride, strides[:-1], "the strides of the backbone but the coarsest, which is merged in")

    def build(self, feature_info: Sequence[FeatureInfo]) -> Neck:
        """The network part for maps of these channels and strides."""
        return LSSFPN(self, feature_info)


class LSSFPN(Neck):
    """Maps (B*N, C_i, H_i, W_i) to one map (B*N, channels, H/out_stride, W/out_stride)."""

    def __init__(self, config: LSSFPNConfig, feature_info: Sequence[FeatureInfo]) -> None:
        super().__init__()
        self.first = next(i for i, info in enumerate(feature_info) if info.stride == config.out_stride)
        used = feature_info[self.first :]
        blocks = []
        below = used[-1].channels
        for info in reversed(used[:-1]):
            blocks.append(
                nn.Sequential(
                    conv_bn_relu(info.channels + below, config.channels, kernel=1),
                    conv_bn_relu(config.channels, config.channels),
                )
            )
            below = config.channels
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The finest merged map."""
        x = maps[-1]
        for block, finer in zip(self.blocks, reversed(maps[self.first : -1]), strict=True):
            # A literal factor exports as constant scales, which every TensorRT reads.
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([finer, x], dim=1))
        return x
