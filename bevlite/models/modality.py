"""Modality drop-out: in training a network learns to do with one sensor less."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def drop_streams(maps: Sequence[Tensor], probability: float) -> list[Tensor]:
    """Zero the map of one stream, each alike often, for a share of the samples; never two of a sample.

    Args:
        maps: BEV maps (B, C_i, ny, nx) of the streams; a single one is never dropped.
        probability: that a sample loses one.
    """
    if len(maps) < 2:
        return list(maps)
    batch, device = maps[0].shape[0], maps[0].device
    loses = torch.rand(batch, device=device) < probability
    which = torch.randint(len(maps), (batch,), device=device)
    # Filled, not multiplied: zero times what is not finite would not be zero.
    return [one.masked_fill((loses & (which == i))[:, None, None, None], 0.0) for i, one in enumerate(maps)]
