"""Horizon's BEV encoder of its LSS networks: EfficientNet-B0 with ReLU and without squeeze-and-excitation, and a BiFPN.

Without the gates and with a ReLU the network is EfficientNet-Lite0 (Tan & Le, ICML 2019), here of timm; its first
convolution takes the BEV map.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bevlite.models.contracts import BEVEncoderConfig
from bevlite.models.necks.bifpn import BiFPN, FusionKind
from bevlite.registry import BEV_ENCODERS

LEVELS = 5  # strides 2, 4, 8, 16 and 32 of the grid
QUIET = 0.2
"""What the last norm of each block with a shortcut starts from: blocks begin near the identity (Goyal et al., 2017:
from 0). From 1, norm after norm multiplies the gradient that reaches the map by 66 to 182, which drowns what the view
transform is taught directly."""


@BEV_ENCODERS.register
class EfficientNetBiFPNConfig(BEVEncoderConfig):
    """Five maps at strides 2 to 32 of the grid through a BiFPN; the finest is enlarged x2, back to the grid.

    channels: of the BiFPN. stack: its layers. fusion: how its nodes merge maps.
    """

    type: Literal["efficientnet_bifpn"] = "efficientnet_bifpn"
    channels: int = Field(default=48, gt=0)
    stack: int = Field(default=3, ge=1, le=8)
    fusion: FusionKind = "sum"

    @property
    def total_stride(self) -> int:
        """Stride of the coarsest map."""
        return 1 << LEVELS

    def build(self, in_channels: int) -> EfficientNetBiFPN:
        """The network part."""
        return EfficientNetBiFPN(self, in_channels)


class EfficientNetBiFPN(nn.Module):
    """(B, C, ny, nx) to (B, channels, ny, nx)."""

    def __init__(self, config: EfficientNetBiFPNConfig, in_channels: int) -> None:
        import timm  # loads torchvision, seconds that a command which builds no network need not wait

        super().__init__()
        self.body = timm.create_model(
            "efficientnet_lite0", pretrained=False, features_only=True, in_chans=in_channels, act_layer=nn.ReLU
        )
        for block in self.body.modules():
            if getattr(block, "has_skip", False) and isinstance(last := getattr(block, "bn3", None), nn.BatchNorm2d):
                nn.init.constant_(last.weight, QUIET)
        info: Any = self.body.feature_info
        self.bifpn = BiFPN(info.channels(), config.channels, LEVELS, config.stack, config.fusion, last=0)
        self.out_channels = config.channels

    def forward(self, bev: Tensor) -> Tensor:
        """The encoded map."""
        finest = self.bifpn(self.body(bev))[0]
        # A literal factor exports as constant scales, which every TensorRT reads.
        return functional.interpolate(finest, scale_factor=2.0, mode="bilinear", align_corners=False)
