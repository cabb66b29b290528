"""Feature pyramid network (Lin et al., CVPR 2017), as mmdetection's FPN and CustomFPN of BEVDet have it.

BEVDet and FlashOcc take strides 16 and 32 of a ResNet-50 to 256 channels at stride 16; BEVFormer-tiny takes stride 32
alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.contracts import FeatureInfo, Neck, NeckConfig
from bevlite.registry import NECKS


@NECKS.register
class FPNConfig(NeckConfig):
    """1x1 on every map from `out_stride` down, coarser ones added by nearest neighbours, 3x3 on the finest."""

    type: Literal["fpn"] = "fpn"
    channels: int = Field(default=256, gt=0)
    out_stride: Literal[4, 8, 16, 32] = 16

    def build(self, feature_info: Sequence[FeatureInfo]) -> Neck:
        """The network part for maps of these channels and strides."""
        return FPN(self, feature_info)


class FPN(Neck):
    """Maps (B*N, C_i, H_i, W_i) to one map (B*N, channels, H/out_stride, W/out_stride)."""

    def __init__(self, config: FPNConfig, feature_info: Sequence[FeatureInfo]) -> None:
        super().__init__()
        self.first = next(i for i, info in enumerate(feature_info) if info.stride == config.out_stride)
        used = feature_info[self.first :]
        self.laterals = nn.ModuleList(nn.Conv2d(info.channels, config.channels, 1) for info in used)
        self.out = nn.Conv2d(config.channels, config.channels, 3, padding=1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The finest map, with what the coarser ones add."""
        *finer, x = [lateral(one) for lateral, one in zip(self.laterals, maps[self.first :], strict=True)]
        for one in reversed(finer):
            # A literal factor exports as constant scales, which every TensorRT reads.
            x = one + functional.interpolate(x, scale_factor=2.0, mode="nearest")
        out: Tensor = self.out(x)
        return out
