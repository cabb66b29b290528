"""No BEV encoder: heads read the fused map itself (CenterPoint on pillars, whose neck gives the map of the heads)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from bevlite.models.contracts import BEVEncoderConfig
from bevlite.registry import BEV_ENCODERS


@BEV_ENCODERS.register
class NoEncoderConfig(BEVEncoderConfig):
    """The fused map as it is."""

    type: Literal["none"] = "none"

    @property
    def total_stride(self) -> int:
        """That of the grid."""
        return 1

    def build(self, in_channels: int) -> NoEncoder:
        """The network part."""
        return NoEncoder(in_channels)


class NoEncoder(nn.Identity):
    """(B, C, ny, nx) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
