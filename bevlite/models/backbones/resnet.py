"""ResNet-18/34/50 from timm (He et al., arXiv 1512.03385)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from bevlite.errors import ConfigError
from bevlite.models.contracts import Backbone, BackboneConfig, FeatureInfo
from bevlite.registry import BACKBONES


@BACKBONES.register
class ResNetConfig(BackboneConfig):
    """ResNet; `weights` is a local timm state dict (.safetensors, or .pth read with weights_only)."""

    type: Literal["resnet"] = "resnet"
    depth: Literal[18, 34, 50] = 50
    weights: str | None = None

    def build(self) -> Backbone:
        """The network part."""
        return ResNet(self)


class ResNet(Backbone):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: ResNetConfig) -> None:
        import timm  # loads torchvision, seconds that a command which builds no network need not wait

        super().__init__()
        self.body = timm.create_model(
            f"resnet{config.depth}", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)
        )
        info: Any = self.body.feature_info
        self.feature_info = [FeatureInfo(c, s) for c, s in zip(info.channels(), info.reduction(), strict=True)]
        if config.weights:
            self._load(Path(config.weights))

    def _load(self, path: Path) -> None:
        try:
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        except Exception as error:  # whatever a broken weight file raises becomes one line
            raise ConfigError(f"camera.backbone.weights: cannot read {path} ({error})") from None
        wanted = self.body.state_dict()
        missing = [key for key in wanted if key not in state or state[key].shape != wanted[key].shape]
        if missing:
            raise ConfigError(
                f"camera.backbone.weights: {path} lacks {len(missing)} of {len(wanted)} tensors "
                f"(first: {missing[0]}); accepted: a timm state dict of this depth"
            )
        self.body.load_state_dict({key: state[key] for key in wanted})

    def forward(self, images: Tensor) -> list[Tensor]:
        """Four maps, finest first."""
        maps: list[Tensor] = self.body(images)
        return maps
