"""Deformable attention (Zhu et al., ICLR 2021) as stock operators: 4-D GridSample, products, softmax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bevlite.models.attention import MultiHead, shares


class DeformableAttention(MultiHead):
    """Each query samples maps at learnt offsets from its reference points, bilinear, and weighs what it finds.

    Args:
        embed: channels of the values, a multiple of `heads`.
        heads: how many.
        points: samples a head and map, spread over the reference points.
        queries: channels of the queries.
        maps: maps that are sampled; their answers are averaged.
    """

    def __init__(self, embed: int, heads: int, points: int, *, queries: int = 0, maps: int = 1) -> None:
        super().__init__()
        self.head_width, self.points, self.maps = embed // heads, points, maps
        self.offsets = nn.Linear(queries or embed, maps * heads * points * 2)
        self.weights = nn.Linear(queries or embed, maps * heads * points)
        self.value = nn.Conv2d(embed, embed, 1)
        self.out = nn.Linear(embed, embed)
        self._spread()

    @property
    def heads(self) -> int:
        """By the width of the values."""
        return self.value.out_channels // self.head_width

    def head_channels(self, heads: int) -> Mapping[tuple[str, Literal["out", "in"]], np.ndarray]:
        """Values side by side; offsets and weights so for each map."""
        own = shares(heads, self.head_width)
        return {
            ("offsets", "out"): shares(heads, self.points * 2, self.maps),
            ("weights", "out"): shares(heads, self.points, self.maps),
            ("value", "out"): own,
            ("out", "in"): own,
        }

    def _spread(self) -> None:
        """Heads look in directions of their own at first, further with every point; all weigh the same."""
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ahead = torch.stack([angle.cos(), angle.sin()], dim=-1)
        ahead = ahead / ahead.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1).view(1, -1, 1)
        start = (ahead[:, None] * steps).expand(self.maps, -1, -1, -1)
        with torch.no_grad():
            self.offsets.bias.copy_(start.reshape(-1))

    def forward(self, query: Tensor, values: tuple[Tensor, ...], reference: Tensor) -> Tensor:
        """Attend.

        Args:
            query: (B, S, Cq).
            values: `maps` maps (B, E, h, w).
            reference: (B, S, A, 2) x and y within -1..1 of the maps; A divides the number of points.

        Returns:
            (B, S, E).
        """
        batch, count = query.shape[0], query.shape[1]
        offsets = self.offsets(query).view(batch, count, self.maps, self.heads, self.points, 2)
        weights = self.weights(query).view(batch, count, self.maps, self.heads, self.points).softmax(dim=-1)
        spread = reference.repeat_interleave(self.points // reference.shape[2], dim=2)
        found = [
            self._sampled(value, offsets[:, :, i], weights[:, :, i], spread) for i, value in enumerate(values)
        ]  # fmt: skip
        mixed = found[0] if self.maps == 1 else torch.stack(found).mean(dim=0)
        answer: Tensor = self.out(mixed)
        return answer

    def _sampled(self, value: Tensor, offsets: Tensor, weights: Tensor, spread: Tensor) -> Tensor:
        """One map: (B, S, E)."""
        batch, _, height, width = value.shape
        split = self.value(value).reshape(batch * self.heads, -1, height, width)
        # As exact as the reference points: under autocast offsets have 8 bits, which must not become those of a place.
        scale = torch.cat([torch.full_like(spread[0, 0, 0, :1], 2.0 / size) for size in (width, height)])
        places = spread[:, :, None] + offsets * scale  # (B, S, heads, points, 2)
        places = places.transpose(1, 2).flatten(0, 1)
        taken = F.grid_sample(split, places, mode="bilinear", padding_mode="zeros", align_corners=False)
        share = weights.transpose(1, 2).flatten(0, 1)[:, None]  # (B * heads, 1, S, points)
        mixed = (taken * share).sum(dim=-1)
        return mixed.reshape(batch, -1, mixed.shape[-1]).transpose(1, 2)
