"""Matrix products and attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from module_builders.built import Built, Function
from module_builders.convolutions import ACTIVATIONS


def build_linear(rows: int, cin: int, cout: int, act: str = "none", bias: bool = True) -> Built:
    return nn.Sequential(nn.Linear(cin, cout, bias=bias), ACTIVATIONS[act]()), (torch.randn(1, rows, cin),)


def build_mlp(batch: int, tokens: int, width: int, ratio: int = 4) -> Built:
    return _MLP(width, ratio), (torch.randn(batch, tokens, width),)


class _MLP(nn.Module):
    """LayerNorm, linear, GELU, linear, plus the input."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm, self.act = nn.LayerNorm(width), nn.GELU()
        self.first, self.second = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.second(self.act(self.first(self.norm(x))))
        return result


def build_matmul(batch: int, m: int, k: int, n: int) -> Built:
    return Function(torch.matmul), (torch.randn(batch, m, k), torch.randn(batch, k, n) / k**0.5)


def build_sdpa(batch: int, heads: int, queries: int, keys: int, width: int) -> Built:
    """F.scaled_dot_product_attention on (B, heads, tokens, width per head)."""
    query = torch.randn(batch, heads, queries, width)
    return Function(functional.scaled_dot_product_attention), (
        query,
        torch.randn(batch, heads, keys, width),
        torch.randn(batch, heads, keys, width),
    )


class Attention(nn.Module):
    """LayerNorm, multi-head self-attention over all tokens, plus the input: (B, N, C) to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens that have looked at each other."""
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        result: Tensor = x + self.project(mixed)
        return result


def build_attention(batch: int, tokens: int, width: int, heads: int) -> Built:
    return Attention(width, heads), (torch.randn(batch, tokens, width),)


class WindowAttention(nn.Module):
    """Attention inside windows of a map, optionally shifted by half a window (Swin): (B, H, W, C) to the same."""

    def __init__(self, width: int, heads: int, window: int, shift: bool) -> None:
        super().__init__()
        self.window, self.shift = window, window // 2 if shift else 0
        self.attention = Attention(width, heads)

    def forward(self, x: Tensor) -> Tensor:
        """Cut into windows, attend, put together."""
        b, h, w, c = x.shape
        s = self.window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.reshape(b, h // s, s, w // s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s * s, c)
        x = self.attention(x)
        x = x.reshape(b, h // s, w // s, s, s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


def build_window_attention(
    batch: int, size: int, width: int, heads: int, window: int = 8, shift: bool = False
) -> Built:
    return WindowAttention(width, heads, window, shift), (torch.randn(batch, size, size, width),)
