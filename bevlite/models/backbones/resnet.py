"""ResNet-18/34/50 from timm (He et al., arXiv 1512.03385)."""

from __future__ import annotations

from typing import Literal

from bevlite.models.contracts import Backbone, BackboneConfig
from bevlite.models.pretrained import fetch_from_timm, load_weights
from bevlite.models.timm_features import TimmFeatures
from bevlite.registry import BACKBONES


@BACKBONES.register
class ResNetConfig(BackboneConfig):
    """ResNet; `weights` is `imagenet`, or a local timm state dict (.safetensors, or .pth read with weights_only)."""

    type: Literal["resnet"] = "resnet"
    depth: Literal[18, 34, 50] = 50
    weights: str | None = None

    def build(self) -> Backbone:
        """The network part."""
        return ResNet(self)


class ResNet(TimmFeatures):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: ResNetConfig) -> None:
        name = f"resnet{config.depth}"
        super().__init__(name)
        if config.weights:
            load_weights(self.body, config.weights, lambda: fetch_from_timm(name))
