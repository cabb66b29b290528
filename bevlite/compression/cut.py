"""The cut: channels taken out of weights, and the text of the network that is left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.compression.coupling import CONVOLUTIONS, WEIGHTED
from bevlite.compression.groups import Group, Side
from bevlite.errors import BevliteError
from bevlite.models.attention import MultiHead
from bevlite.models.detector import Detector
from bevlite.models.widths import TRANSPOSED, ends
from bevlite.variant import Variant

Weights = Mapping[str, Tensor]


def cut(
    variant: Variant, weights: Weights, groups: list[Group], removed: Mapping[str, np.ndarray]
) -> tuple[Variant, dict[str, Tensor]]:
    """A network without some channels.

    Args:
        variant: the network.
        weights: its weights by name; none for the text alone.
        groups: of `channel_groups(variant)`.
        removed: by name of a group, the numbers of the channels (or heads) of it to remove.

    Returns:
        The variant whose `compression.widths` say what is left, and its weights.

    Raises:
        BevliteError: a group that would lose all its channels, or one that is not there.
    """
    named = {group.name: group for group in groups}
    with torch.device("meta"):
        network = Detector(variant).eval()
    gone: dict[tuple[str, Side], np.ndarray] = {}
    for name, numbers in removed.items():
        if name not in named:
            raise BevliteError(f"prune: found group '{name}'; accepted: {', '.join(named)}")
        group = named[name]
        if len(np.unique(numbers)) >= group.size:
            unit = "heads" if group.of_heads else "channels"
            raise BevliteError(f"prune: {name}: found all {group.size} {unit} to remove; accepted: fewer")
        for member in group.members:
            key = (member.path, member.side)
            gone[key] = np.concatenate([gone.get(key, np.zeros(0, int)), member.channels[numbers].ravel()])
    layers = dict(network.named_modules())
    kept = {key: _kept(layers[key[0]], key[1], numbers) for key, numbers in gone.items()}
    left = dict(weights)
    widths = dict(variant.compression.widths)
    for path in dict.fromkeys(path for path, _ in kept):
        layer = layers[path]
        if (path, "head") in kept:
            for name in (f"{path}.{own}" for own in layer.head_parameters):
                if name in left:
                    left[name] = left[name].index_select(-1, kept[path, "head"])
            continue
        ins, outs = kept.get((path, "in")), kept.get((path, "out"))
        _slice(left, path, layer, ins, outs)
        if isinstance(layer, WEIGHTED):
            out, into = ends(layer)
            widths[path] = (out if outs is None else len(outs), into if ins is None else len(ins))
    plan = variant.compression.model_copy(update={"widths": widths})
    smaller = variant.model_copy(update={"compression": plan})
    return smaller, left


def _kept(layer: nn.Module, side: Side, numbers: np.ndarray) -> Tensor:
    channels = _channels(layer, side)
    mask = torch.ones(channels, dtype=torch.bool)
    mask[torch.from_numpy(np.unique(numbers))] = False
    return mask.nonzero().flatten()


def _channels(layer: Any, side: Side) -> int:
    if isinstance(layer, WEIGHTED):
        return ends(layer)[side == "in"]
    if isinstance(layer, MultiHead):
        return layer.heads
    if isinstance(layer, nn.LayerNorm):
        return int(layer.normalized_shape[-1])
    names = getattr(layer, "channel_parameters", None)
    return int(getattr(layer, names[0]).shape[0]) if names else int(layer.num_features)


def _slice(left: dict[str, Tensor], path: str, layer: nn.Module, ins: Tensor | None, outs: Tensor | None) -> None:
    """Take channels out of the parameters and buffers of one layer."""
    held = [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]
    for name, value in held:
        key = f"{path}.{name}"
        if key not in left or value.ndim == 0:
            continue
        given = left[key]
        if not isinstance(layer, WEIGHTED):
            given = (
                given
                if ins is None
                else given.index_select(given.ndim - 1 if isinstance(layer, nn.LayerNorm) else 0, ins)
            )
        elif name == "bias":
            given = given if outs is None else given.index_select(0, outs)
        else:
            transposed = isinstance(layer, TRANSPOSED)
            grouped = isinstance(layer, CONVOLUTIONS) and layer.groups > 1
            if outs is not None:
                given = given.index_select(1 if transposed and not grouped else 0, outs)
            if ins is not None and not grouped:
                given = given.index_select(0 if transposed else 1, ins)
        left[key] = given.clone()
