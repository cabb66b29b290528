"""Convolutions and blocks of them."""

from __future__ import annotations

from math import prod
from typing import Any

from module_lists.listing import Listing


def _conv_spec(
    out: Listing, family: str, shape: tuple[int, int, int, int], cout: int, kernel: int, **extra: Any
) -> None:
    batch, cin, height, width = shape
    label = f"{cin}-{cout}_b{batch}_{height}x{width}_k{kernel}"
    label += "".join(f"_{key[0]}{value}" for key, value in extra.items())
    arguments = {"batch": batch, "cin": cin, "height": height, "width": width, "cout": cout, "kernel": kernel}
    stride, groups = extra.get("stride", 1), extra.get("groups", 1)
    work = 2 * prod(shape) * cout * kernel**2 // groups // stride**2
    few = sum(s.family == family and s.cpu for s in out.specs) < 3
    out.add(family, "conv", label, arguments | extra, cpu=few and work < 2.5e9)


def convolutions(out: Listing) -> None:
    """Single convolutions of every kind, separable pairs, and transposed ones."""
    for shape, cout in (
        ((1, 256, 128, 128), 128),
        ((6, 64, 64, 176), 256),
        ((1, 64, 56, 56), 64),
        ((6, 1024, 16, 44), 256),
        ((1, 448, 128, 128), 256),
        ((6, 256, 64, 176), 64),
        ((1, 2048, 7, 7), 512),
        ((16, 512, 28, 28), 128),
        ((6, 256, 16, 44), 123),
        ((1, 16, 112, 112), 96),
        ((32, 256, 56, 56), 256),
        ((1, 128, 256, 256), 64),
        ((8, 96, 56, 56), 24),
        ((6, 512, 32, 88), 128),
        ((1, 960, 7, 7), 320),
        ((64, 512, 14, 14), 2048),
        ((1, 32, 200, 200), 288),
        ((16, 1024, 14, 14), 256),
        ((1, 1024, 64, 64), 1024),
        ((32, 64, 112, 112), 64),
    ):
        _conv_spec(out, "conv1x1", shape, cout, 1)
    for shape, cout in (
        ((1, 256, 128, 128), 256),
        ((6, 64, 64, 176), 64),
        ((1, 64, 56, 56), 64),
        ((1, 128, 128, 128), 128),
        ((6, 256, 16, 44), 256),
        ((1, 512, 7, 7), 512),
        ((1, 64, 256, 256), 64),
        ((16, 128, 28, 28), 128),
        ((1, 256, 64, 64), 256),
        ((6, 512, 8, 22), 512),
        ((1, 48, 48, 48), 48),
        ((32, 64, 56, 56), 64),
        ((6, 128, 32, 88), 128),
        ((1, 96, 128, 128), 96),
        ((1, 384, 128, 128), 64),
        ((1, 16, 96, 96), 16),
        ((1, 128, 256, 256), 128),
        ((1, 64, 128, 128), 384),
        ((64, 256, 14, 14), 256),
        ((1, 32, 512, 512), 32),
        ((16, 512, 14, 14), 512),
        ((1, 64, 128, 128), 2),
        ((1, 320, 128, 128), 320),
        ((6, 192, 32, 88), 192),
        ((32, 256, 28, 28), 256),
        ((1, 1024, 32, 32), 1024),
    ):
        _conv_spec(out, "conv3x3", shape, cout, 3)
    for shape, cout, kernel in (
        ((1, 64, 512, 512), 64, 3),
        ((6, 128, 64, 176), 128, 3),
        ((1, 128, 128, 128), 256, 3),
        ((6, 256, 64, 176), 512, 1),
        ((1, 16, 96, 96), 48, 3),
        ((16, 64, 56, 56), 128, 3),
        ((6, 512, 32, 88), 1024, 1),
        ((1, 256, 64, 64), 256, 3),
        ((6, 3, 256, 704), 32, 3),
        ((32, 256, 28, 28), 512, 3),
        ((1, 64, 256, 256), 128, 2),
        ((1, 32, 128, 128), 64, 3),
    ):
        _conv_spec(out, "conv_stride2", shape, cout, kernel, stride=2)
    for shape, cout, kernel, stride in (
        ((6, 3, 256, 704), 64, 7, 2),
        ((1, 64, 128, 128), 64, 5, 1),
        ((1, 3, 224, 224), 64, 7, 2),
        ((16, 32, 56, 56), 64, 5, 1),
        ((1, 128, 64, 64), 128, 7, 1),
        ((6, 64, 32, 88), 128, 5, 2),
        ((1, 3, 224, 224), 96, 4, 4),
        ((32, 3, 224, 224), 64, 7, 2),
        ((1, 3, 224, 224), 384, 16, 16),
    ):
        _conv_spec(out, "conv_large", shape, cout, kernel, stride=stride)
    for shape, cout, groups in (
        ((6, 128, 64, 176), 128, 2),
        ((1, 128, 56, 56), 128, 32),
        ((1, 256, 64, 64), 256, 4),
        ((16, 256, 28, 28), 256, 32),
        ((6, 64, 32, 88), 128, 8),
        ((1, 512, 14, 14), 512, 32),
        ((8, 96, 56, 56), 96, 4),
    ):
        _conv_spec(out, "conv_grouped", shape, cout, 3, groups=groups)
    for shape, cout, dilation in (
        ((1, 256, 64, 64), 256, 2),
        ((6, 128, 32, 88), 128, 2),
        ((1, 64, 128, 128), 64, 4),
        ((1, 512, 28, 28), 512, 6),
        ((1, 32, 56, 56), 32, 2),
    ):
        _conv_spec(out, "conv_dilated", shape, cout, 3, dilation=dilation)
    for shape, kernel, stride in (
        ((1, 96, 56, 56), 3, 1),
        ((6, 64, 64, 176), 3, 1),
        ((1, 256, 128, 128), 3, 1),
        ((16, 384, 28, 28), 5, 1),
        ((1, 960, 7, 7), 5, 1),
        ((6, 192, 64, 176), 3, 2),
        ((1, 96, 56, 56), 7, 1),
        ((32, 144, 56, 56), 3, 1),
        ((1, 64, 256, 256), 3, 2),
        ((6, 384, 16, 44), 7, 1),
        ((1, 32, 112, 112), 3, 1),
    ):
        _conv_spec(out, "depthwise", shape, shape[1], kernel, stride=stride, groups=shape[1])
    for batch, cin, size, cout, kernel, stride in (
        (1, 64, 128, 64, 3, 1),
        (1, 32, 112, 64, 3, 1),
        (6, 128, 64, 128, 3, 1),
        (1, 128, 56, 256, 3, 2),
        (16, 256, 28, 256, 3, 1),
        (1, 512, 14, 512, 3, 1),
        (1, 256, 128, 256, 5, 1),
        (1, 64, 256, 128, 3, 2),
        (32, 128, 56, 128, 3, 1),
        (1, 24, 48, 144, 3, 1),
    ):
        settings = {"batch": batch, "cin": cin, "size": size, "cout": cout, "kernel": kernel, "stride": stride}
        label = f"{cin}-{cout}_b{batch}_{size}_k{kernel}_s{stride}"
        out.add("separable", "separable", label, settings, cpu=batch == 1 and size < 120)
    for batch, cin, size, cout, factor in (
        (1, 256, 64, 256, 2),
        (1, 128, 64, 64, 2),
        (1, 64, 24, 48, 2),
        (1, 256, 32, 128, 4),
        (6, 128, 32, 128, 2),
        (1, 512, 16, 256, 2),
        (1, 256, 128, 64, 2),
    ):
        settings = {"batch": batch, "cin": cin, "size": size, "cout": cout, "factor": factor}
        out.add("transposed", "transposed", f"{cin}-{cout}_b{batch}_{size}_x{factor}", settings, cpu=size <= 24)


def blocks(out: Listing) -> None:
    """Bottlenecks, plain and inverted, and squeeze-and-excitation blocks."""
    for batch, width, inner, size, kernel, depthwise, act in (
        (1, 256, 64, 56, 3, False, "relu"),
        (6, 256, 64, 96, 3, False, "relu"),
        (1, 24, 144, 56, 3, True, "relu"),
        (16, 512, 128, 28, 3, False, "relu"),
        (1, 40, 240, 28, 5, True, "hswish"),
        (1, 2048, 512, 7, 3, False, "relu"),
        (6, 64, 256, 64, 3, True, "gelu"),
        (1, 80, 480, 14, 3, True, "silu"),
        (32, 1024, 256, 14, 3, False, "relu"),
        (16, 40, 240, 28, 3, True, "silu"),
    ):
        settings = {"batch": batch, "width": width, "inner": inner, "size": size, "kernel": kernel}
        settings |= {"depthwise": depthwise, "act": act}
        label = f"{width}-{inner}_b{batch}_{size}_k{kernel}{'_dw' if depthwise else ''}_{act}"
        out.add("bottleneck", "bottleneck", label, settings, cpu=batch == 1 and size > 7)
    for act, shape, cout in (
        ("silu", (1, 64, 128, 128), 64),
        ("gelu", (6, 64, 32, 88), 128),
        ("hswish", (1, 32, 112, 112), 32),
        ("none", (1, 128, 128, 128), 128),
        ("silu", (16, 128, 40, 40), 128),
    ):
        _conv_spec(out, "conv_act", shape, cout, 3, act=act)
    for batch, width, size in ((1, 256, 128), (1, 72, 28), (16, 480, 14), (6, 192, 64), (1, 960, 7)):
        settings = {"batch": batch, "width": width, "size": size}
        out.add("se_block", "se_block", f"{width}_b{batch}_{size}", settings, cpu=size <= 28 and batch == 1)
