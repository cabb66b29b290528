"""SECOND + SECFPN over the fused BEV map: the decoder of BEVFusion (mit-han-lab/bevfusion, secfpn)."""

from __future__ import annotations

from itertools import accumulate
from operator import mul
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.models.contracts import BEVEncoderConfig
from bevlite.models.lidar.backbones.second import SECOND
from bevlite.models.lidar.necks.secfpn import SECFPN
from bevlite.registry import BEV_ENCODERS


@BEV_ENCODERS.register
class SecondFPNConfig(BEVEncoderConfig):
    """Stages of 3x3 convolutions, the first at the stride of the grid; all brought back to it."""

    type: Literal["second_fpn"] = "second_fpn"
    channels: tuple[int, ...] = (128, 256)
    layers: tuple[int, ...] = (5, 5)
    out_channels: int = Field(default=256, gt=0, description="channels a stage after the FPN")

    @model_validator(mode="after")
    def _same_length(self) -> SecondFPNConfig:
        if not (len(self.channels) == len(self.layers) > 0):
            raise ValueError(
                f"found {len(self.channels)} channels and {len(self.layers)} layers; accepted: as many of each"
            )
        return self

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each stage."""
        return (1, *[2] * (len(self.channels) - 1))

    @property
    def total_stride(self) -> int:
        """Stride of the coarsest stage."""
        return list(accumulate(self.strides, mul))[-1]

    def build(self, in_channels: int) -> SecondFPN:
        """The network part."""
        return SecondFPN(self, in_channels)


class SecondFPN(nn.Module):
    """(B, C, ny, nx) to (B, out_channels, ny, nx)."""

    def __init__(self, config: SecondFPNConfig, in_channels: int) -> None:
        super().__init__()
        self.backbone = SECOND(in_channels, config.channels, config.layers, config.strides)
        self.neck = SECFPN(self.backbone.feature_info, [config.out_channels] * len(config.channels), 1)

    @property
    def out_channels(self) -> int:
        """Of the neck."""
        return self.neck.out_channels

    def forward(self, bev: Tensor) -> Tensor:
        """The encoded map."""
        encoded: Tensor = self.neck(self.backbone(bev))
        return encoded
