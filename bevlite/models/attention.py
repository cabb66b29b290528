"""Multi-head attention and feed-forward layers as stock operators: products, softmax, transposes."""

from __future__ import annotations

from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al., 2017), the weights of `nn.MultiheadAttention` in four linear layers.

    Args:
        embed: channels, a multiple of `heads`.
        heads: how many.
        dropout: of the attention weights, in training.
    """

    def __init__(self, embed: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(embed, embed) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Query (..., Q, E), key and value (..., K, E) to (..., Q, E)."""
        width = self.query.out_features // self.heads
        q = self._split(self.query(query)) * width**-0.5
        k, v = self._split(self.key(key)), self._split(self.value(value))
        weights = self.dropout((q @ k.transpose(-1, -2)).softmax(dim=-1))
        mixed: Tensor = self.out((weights @ v).transpose(-2, -3).flatten(-2))
        return mixed

    def _split(self, x: Tensor) -> Tensor:
        """(..., L, E) to (..., heads, L, E / heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


class FeedForward(nn.Sequential):
    """Two linear layers with ReLU and dropout between: (..., E) to (..., E)."""

    def __init__(self, embed: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(embed, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, embed))
