"""Multi-head attention and feed-forward layers as stock operators: products, softmax, transposes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor, nn


class MultiHead(nn.Module):
    """An attention whose heads can go one by one: it says which channels of its layers belong to which.

    A head keeps its width, so that how many there are follows from the widths of the layers: pruned networks need no
    other text than `compression.widths`. Parts from other packages inherit from it, or keep all their heads.

    Attributes:
        head_parameters: names of its own parameters that have a value a head along their last axis.
    """

    head_parameters: ClassVar[tuple[str, ...]] = ()

    @property
    def heads(self) -> int:
        """How many there are, from the width of a layer."""
        raise TypeError(f"{type(self).__name__} has no heads")

    def head_channels(self, heads: int) -> Mapping[tuple[str, Literal["out", "in"]], np.ndarray]:
        """Channels (heads, channels of each) that its layers give (`out`) or take (`in`), were there so many heads.

        By name of the layer; together they are all channels of that side.
        """
        raise TypeError(f"{type(self).__name__} has no head_channels()")


def shares(heads: int, each: int, sets: int = 1) -> np.ndarray:
    """Channels of each head, (heads, sets * each), of a layer that has `sets` times all heads side by side."""
    return np.arange(sets * heads * each).reshape(sets, heads, each).swapaxes(0, 1).reshape(heads, -1)


class Attention(MultiHead):
    """Multi-head attention (Vaswani et al., 2017), the weights of `nn.MultiheadAttention` in four linear layers.

    Args:
        embed: channels, a multiple of `heads`.
        heads: how many.
        dropout: of the attention weights, in training.
    """

    def __init__(self, embed: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.head_width = embed // heads
        self.query, self.key, self.value, self.out = (nn.Linear(embed, embed) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    @property
    def heads(self) -> int:
        """By the width of the queries."""
        return self.query.out_features // self.head_width

    def head_channels(self, heads: int) -> Mapping[tuple[str, Literal["out", "in"]], np.ndarray]:
        """Side by side in all four layers."""
        own = shares(heads, self.head_width)
        return {("query", "out"): own, ("key", "out"): own, ("value", "out"): own, ("out", "in"): own}

    def forward(self, query: Tensor, key: Tensor, value: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        """Query (..., Q, E), key and value (..., K, E) to (..., Q, E).

        seen: takes the share of each key in each query, (..., Q, K), mean over the heads.
        """
        q = self._split(self.query(query)) * self.head_width**-0.5
        k, v = self._split(self.key(key)), self._split(self.value(value))
        weights = (q @ k.transpose(-1, -2)).softmax(dim=-1)
        if seen is not None:
            seen.append(weights.mean(-3))
        weights = self.dropout(weights)
        mixed: Tensor = self.out((weights @ v).transpose(-2, -3).flatten(-2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """(..., L, E) to (..., heads, L, E / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class FeedForward(nn.Sequential):
    """Two linear layers with ReLU and dropout between: (..., E) to (..., E)."""

    def __init__(self, embed: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(embed, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, embed))
