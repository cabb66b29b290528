"""SECOND's 2D backbone with depthwise-separable convolutions: a fraction of its cost, for the same maps.

Horizon builds its light heads of the same block, with norm and ReLU after the pointwise convolution alone.
"""

from __future__ import annotations

from typing import Literal

from bevlite.models.layers import separable_conv_bn_relu
from bevlite.models.lidar.backbones.second import SECOND, StagesConfig
from bevlite.registry import LIDAR_BACKBONES


@LIDAR_BACKBONES.register
class SECONDDWConfig(StagesConfig):
    """Stages as those of `second`, every convolution as a depthwise 3x3 and a 1x1."""

    type: Literal["second_dw"] = "second_dw"

    def build(self, in_channels: int) -> SECOND:
        """The network part."""
        return SECOND(in_channels, self.channels, self.layers, self.strides, separable_conv_bn_relu)
