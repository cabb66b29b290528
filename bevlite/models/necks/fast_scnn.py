"""Feature fusion of Fast-SCNN (Poudel et al., BMVC 2019): the light neck of Horizon's LSS networks.

Two levels alone, strides 16 and 32 to 64 channels at stride 16. The pyramid pooling of the paper is left out: its bins
do not divide the maps of a camera, and pools of uneven bins are no stock operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.contracts import FeatureInfo, Neck, NeckConfig, refuse_stride
from bevlite.models.layers import conv_bn_relu
from bevlite.registry import NECKS


@NECKS.register
class FastSCNNConfig(NeckConfig):
    """The map of twice the stride: 1x1, x2, depthwise 3x3, 1x1; that of `out_stride`: 1x1; their sum through ReLU."""

    type: Literal["fast_scnn"] = "fast_scnn"
    channels: int = Field(default=64, gt=0)
    out_stride: Literal[4, 8, 16] = 16

    def check(self, strides: Sequence[int], height: int, width: int) -> None:
        """Raise a ValueError unless there is a map of `out_stride` and one of twice of it."""
        pairs = [stride for stride in strides if 2 * stride in strides]
        refuse_stride(self.out_stride, pairs, "the strides of the backbone that it also has twice as coarse")

    def build(self, feature_info: Sequence[FeatureInfo]) -> Neck:
        """The network part for maps of these channels and strides."""
        return FastSCNN(self, feature_info)


class FastSCNN(Neck):
    """Maps (B*N, C_i, H_i, W_i) to one map (B*N, channels, H/out_stride, W/out_stride)."""

    def __init__(self, config: FastSCNNConfig, feature_info: Sequence[FeatureInfo]) -> None:
        super().__init__()
        strides = [info.stride for info in feature_info]
        self.fine, self.coarse = strides.index(config.out_stride), strides.index(2 * config.out_stride)
        width, deep = config.channels, feature_info[self.coarse].channels
        self.high = nn.Sequential(
            nn.Conv2d(feature_info[self.fine].channels, width, 1, bias=False), nn.BatchNorm2d(width)
        )
        # Stands where the paper has the convolution of its pyramid pooling: few channels before the map is enlarged.
        self.reduce = conv_bn_relu(deep, width, kernel=1)
        self.low = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The merged map."""
        # A literal factor exports as constant scales, which every TensorRT reads.
        low = functional.interpolate(
            self.reduce(maps[self.coarse]), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        return functional.relu(self.high(maps[self.fine]) + self.low(low))
