"""Any model of timm that gives maps at strides 4, 8, 16 and 32, by name (huggingface.co/docs/timm)."""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import Any, Literal

import torch
from pydantic import field_validator

from bevlite.errors import ConfigError
from bevlite.models.contracts import Backbone, BackboneConfig, FeatureInfo
from bevlite.models.pretrained import fetch_from_timm, load_weights
from bevlite.models.timm_features import TimmFeatures
from bevlite.registry import BACKBONES

STRIDES = (4, 8, 16, 32)
TRIAL = (128, 192)
"""Height and width in px of the images that tell what a model gives."""


@BACKBONES.register
class TimmConfig(BackboneConfig):
    """A model of timm.

    name: as in `timm.list_models()`, with a tag where certain weights are meant (`convnext_tiny.fb_in1k`).
    weights: `imagenet`, or a local timm state dict.
    """

    type: Literal["timm"] = "timm"
    name: str = "mobilenetv4_conv_small"
    weights: str | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = _names()
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean '{near[0]}'?)" if near else ""
            raise ValueError(f"found '{name}'{hint}; accepted: a name of timm.list_models()")
        return name

    def build(self) -> Backbone:
        """The network part (raises ConfigError when the model gives other maps)."""
        return TimmBackbone(self)


class TimmBackbone(TimmFeatures):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: TimmConfig) -> None:
        super().__init__(config.name, taps_of(config.name))
        self.feature_info = [FeatureInfo(info.channels, s) for info, s in zip(self.feature_info, STRIDES, strict=True)]
        if config.weights:
            load_weights(self.body, config.weights, lambda: fetch_from_timm(config.name))


@lru_cache(maxsize=1)
def _names() -> frozenset[str]:
    import timm  # loads torchvision: only who names one of its models waits

    return frozenset(timm.list_models()) | frozenset(timm.list_models(pretrained=True))


@lru_cache(maxsize=64)
def taps_of(name: str) -> tuple[int, ...]:
    """Which of a model's maps lie at strides 4, 8, 16 and 32; told from a run on shapes alone.

    Raises:
        ConfigError: it takes no images of any size, gives no maps (B, C, H, W), or not at every stride.
    """
    import timm

    key = "camera.backbone.name"
    try:
        with torch.device("meta"), torch.no_grad():
            model: Any = timm.create_model(name, features_only=True).eval()
            maps = model(torch.zeros(1, 3, *TRIAL))
    except Exception as error:  # no features_only, a fixed size of images: timm raises anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{key}: found {name}, which gives no maps of images of any size ({line[:160]}); accepted: one that does"
        ) from None
    shapes = [tuple(one.shape) for one in maps]
    at = {
        shape[-2:]: index
        for index, (shape, channels) in enumerate(zip(shapes, model.feature_info.channels(), strict=True))
        if len(shape) == 4 and shape[1] == channels
    }
    wanted = [(TRIAL[0] // stride, TRIAL[1] // stride) for stride in STRIDES]
    if not all(size in at for size in wanted):
        found = ", ".join(str(list(shape)) for shape in shapes)
        raise ConfigError(
            f"{key}: found {name}, which makes maps {found} of an image of {list(TRIAL)} px; accepted: a model with a "
            f"map (B, C, H, W) at each of the strides {', '.join(map(str, STRIDES))}"
        )
    indices: tuple[int, ...] = tuple(model.feature_info.out_indices)
    return tuple(indices[at[size]] for size in wanted)
