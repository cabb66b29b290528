"""Groups: channels, or heads of an attention, that go from all layers of a group at once."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import nn

from bevlite.models.attention import MultiHead

Side = Literal["out", "in", "head"]
HEADS = "[heads]"
"""What the name of a group of heads ends with."""


@dataclass(frozen=True)
class Member:
    """One side of a layer that loses channels with its group: `channels[k]` is the one of the group's k-th.

    Of a group of heads `channels` is (heads, channels of each). Of the side "head" are parameters of an attention
    itself, which have a value a head.
    """

    path: str
    side: Side
    channels: np.ndarray


@dataclass(frozen=True)
class Group:
    """Channels (or heads) of a network that can be removed one by one, each from all members at once.

    Members of the side "in" are what layers take; of norms it is what they hold.
    """

    name: str
    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """Channels, or heads."""
        return len(self.members[0].channels)

    @property
    def outs(self) -> tuple[Member, ...]:
        """The layers that give these channels."""
        return tuple(m for m in self.members if m.side == "out")

    @property
    def of_heads(self) -> bool:
        """Whether it is of heads."""
        return self.name.endswith(HEADS)

    def step(self, align: int) -> int:
        """How many go at a time so that the channels that are left are a multiple of `align`: fewer of wide heads."""
        each = next((m.channels[0].size for m in self.members if m.side == "in"), 1)
        return align // math.gcd(align, each)


def head_groups(network: nn.Module, called: Collection[str]) -> list[Group]:
    """Groups of the attentions of a network with two heads at least, whose layers are all called."""
    found = []
    for path, layer in network.named_modules():
        if not isinstance(layer, MultiHead) or layer.heads < 2:
            continue
        shares = layer.head_channels(layer.heads)
        if not all(f"{path}.{name}" in called for name, _ in shares):
            continue
        members = [Member(f"{path}.{name}", side, channels) for (name, side), channels in shares.items()]
        if layer.head_parameters:
            members.append(Member(path, "head", np.arange(layer.heads)[:, None]))
        found.append(Group(f"{path}{HEADS}", tuple(members)))
    return found
