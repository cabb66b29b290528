"""Convolutions and blocks of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from module_builders.built import Built

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "hswish": nn.Hardswish,
    "none": nn.Identity,
}


def conv_block(
    cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, dilation: int = 1, act: str = "relu"
) -> nn.Sequential:
    padding = 0 if kernel == stride else dilation * (kernel // 2)  # patches do not overlap
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, padding, dilation, groups, bias=False),
        nn.BatchNorm2d(cout),
        ACTIVATIONS[act](),
    )


def build_conv(batch: int, cin: int, height: int, width: int, cout: int, kernel: int, **settings: Any) -> Built:
    return conv_block(cin, cout, kernel, **settings), (torch.randn(batch, cin, height, width),)


def build_separable(batch: int, cin: int, size: int, cout: int, kernel: int = 3, stride: int = 1) -> Built:
    depthwise = conv_block(cin, cin, kernel, stride, groups=cin)
    return nn.Sequential(depthwise, conv_block(cin, cout, 1)), (torch.randn(batch, cin, size, size),)


class Bottleneck(nn.Module):
    """1x1, kxk, 1x1 and the input added, then ReLU (ResNet), or without the last ReLU (inverted residual)."""

    def __init__(self, width: int, inner: int, kernel: int, depthwise: bool, act: str) -> None:
        super().__init__()
        self.first = conv_block(width, inner, 1, act=act)
        self.second = conv_block(inner, inner, kernel, groups=inner if depthwise else 1, act=act)
        self.third = conv_block(inner, width, 1, act="none")
        self.act = nn.Identity() if depthwise else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        result: Tensor = self.act(x + self.third(self.second(self.first(x))))
        return result


def build_bottleneck(
    batch: int, width: int, inner: int, size: int, kernel: int = 3, depthwise: bool = False, act: str = "relu"
) -> Built:
    return Bottleneck(width, inner, kernel, depthwise, act), (torch.randn(batch, width, size, size),)


def build_se_block(batch: int, width: int, size: int, ratio: int = 4) -> Built:
    squeeze = nn.Conv2d(width, width // ratio, 1)
    expand = nn.Conv2d(width // ratio, width, 1)
    gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), squeeze, nn.ReLU(), expand, nn.Sigmoid())
    return _Gated(gate), (torch.randn(batch, width, size, size),)


class _Gated(nn.Module):
    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


def build_transposed(batch: int, cin: int, size: int, cout: int, factor: int) -> Built:
    layers = nn.Sequential(nn.ConvTranspose2d(cin, cout, factor, factor, bias=False), nn.BatchNorm2d(cout), nn.ReLU())
    return layers, (torch.randn(batch, cin, size, size),)
