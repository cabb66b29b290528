"""How much each channel of a group matters, from weights alone or with the gradients of the training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.compression.coupling import CONVOLUTIONS, WEIGHTED
from bevlite.compression.groups import Group, Member
from bevlite.errors import BevliteError
from bevlite.models.widths import BATCH_NORMS, TRANSPOSED

Importance = Literal["l2", "l1", "taylor", "bn"]
IMPORTANCES: tuple[Importance, ...] = get_args(Importance)


def importance(
    network: nn.Module,
    groups: Sequence[Group],
    kind: Importance = "l2",
    gradients: Mapping[str, Tensor] | None = None,
) -> dict[str, np.ndarray]:
    """A share for each channel (or head) of each group: what it holds of the group's importance: they sum to 1.

    Args:
        network: with its weights.
        groups: of `channel_groups`.
        kind: `l2`, `l1`: norm of all weights of a channel, in the layers that give it and those that take it
            (group norm: Fang et al., DepGraph, CVPR 2023). `taylor`: |weight x gradient| (Molchanov et al., CVPR 2019).
            `bn`: scales of batch norms (Liu et al., ICCV 2017), `l2` in groups that have none.
        gradients: of the loss by name of parameter, for `taylor`.

    Raises:
        BevliteError: `taylor` without gradients, or weights that are not finite.
    """
    if kind == "taylor" and gradients is None:
        raise BevliteError("importance: found taylor without gradients; accepted: samples to learn from")
    layers = dict(network.named_modules())
    found = {}
    for group in groups:
        scores = _scores(layers, group, kind, gradients or {})
        if not np.isfinite(scores).all():
            raise BevliteError(f"importance: {group.name}: found NaN or infinity among its weights")
        total = scores.sum()
        found[group.name] = scores / total if total > 0 else np.full(group.size, 1 / group.size)
    return found


def _scores(
    layers: Mapping[str, nn.Module], group: Group, kind: Importance, gradients: Mapping[str, Tensor]
) -> np.ndarray:
    scores = torch.zeros(group.size, dtype=torch.float64)
    norms = [m for m in group.members if isinstance(layers[m.path], BATCH_NORMS)]
    if kind == "bn" and norms:
        for member in norms:
            scale: Tensor = layers[member.path].weight.detach()  # type: ignore[operator]
            scores += scale.double().abs()[torch.from_numpy(member.channels)]
        return scores.numpy()
    for member in group.members:
        layer = layers[member.path]
        if not isinstance(layer, WEIGHTED) or (kind in ("l1", "taylor") and member.side == "in"):
            continue
        weight = _by_channel(layer.weight.detach().double(), layer, member)
        if kind == "taylor":
            gradient = gradients.get(f"{member.path}.weight")
            if gradient is None:
                continue
            weight = weight * _by_channel(gradient.detach().double(), layer, member)
        scores += weight.square().sum(1) if kind in ("l2", "bn") else weight.abs().sum(1)
    return scores.numpy()


def _by_channel(weight: Tensor, layer: nn.Module, member: Member) -> Tensor:
    """The weights of each channel, or head, of a member, (channels, rest)."""
    transposed = isinstance(layer, TRANSPOSED)
    grouped = isinstance(layer, CONVOLUTIONS) and layer.groups > 1
    axis = 0 if grouped or (member.side == "out") != transposed else 1
    return weight.movedim(axis, 0).flatten(1)[torch.from_numpy(member.channels)].flatten(1)
