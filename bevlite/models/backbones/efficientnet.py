"""EfficientNet-B0 and B3 from timm (Tan and Le, arXiv 1905.11946).

Horizon's cars run it without squeeze-and-excitation and with ReLU, which quantizes and fuses better. The paddings are
those of PyTorch: the networks with TensorFlow's uneven ones cost the same and gain nothing.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from bevlite.models.contracts import Backbone, BackboneConfig
from bevlite.models.pretrained import fetch_from_timm, load_weights
from bevlite.models.timm_features import TimmFeatures
from bevlite.registry import BACKBONES


@BACKBONES.register
class EfficientNetConfig(BackboneConfig):
    """EfficientNet.

    se: with squeeze-and-excitation.
    weights: `imagenet`, or a local timm state dict of `efficientnet_b0` or `efficientnet_b3`. They were trained with
        `se` and `silu`; another network takes what it has of them, and needs training.
    """

    type: Literal["efficientnet"] = "efficientnet"
    size: Literal["b0", "b3"] = "b3"
    se: bool = True
    activation: Literal["silu", "relu"] = "silu"
    weights: str | None = None

    def build(self) -> Backbone:
        """The network part."""
        return EfficientNet(self)


class EfficientNet(TimmFeatures):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32; B3 has 32, 48, 136 and 384 channels."""

    def __init__(self, config: EfficientNetConfig) -> None:
        name = f"efficientnet_{config.size}"
        super().__init__(name, act_layer=config.activation)
        if not config.se:
            for block in list(self.body.modules()):
                if hasattr(block, "se"):
                    gated: Any = block
                    gated.se = nn.Identity()
        if config.weights:
            load_weights(self.body, config.weights, lambda: fetch_from_timm(name))
