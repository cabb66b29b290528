"""Layers that move data more than they compute: norms, pools, gathers, elementwise chains, reductions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from module_builders.built import Built, Function
from module_builders.convolutions import conv_block


def build_layernorm(rows: int, width: int) -> Built:
    return nn.LayerNorm(width), (torch.randn(1, rows, width),)


def build_softmax(shape: Sequence[int], axis: int = -1) -> Built:
    return nn.Softmax(dim=axis), (torch.randn(*shape),)


def build_pool(kind: str, batch: int, width: int, size: int, kernel: int, stride: int) -> Built:
    layer: nn.Module
    if kind == "global":
        layer = nn.AdaptiveAvgPool2d(1)
    elif kind == "max":
        layer = nn.MaxPool2d(kernel, stride, kernel // 2 if kernel % 2 else 0)
    else:
        layer = nn.AvgPool2d(kernel, stride)
    return layer, (torch.randn(batch, width, size, size),)


def build_resize(batch: int, width: int, size: int, factor: float, mode: str) -> Built:
    corners = False if mode == "bilinear" else None
    layer = nn.Upsample(scale_factor=factor, mode=mode, align_corners=corners)
    return layer, (torch.randn(batch, width, size, size),)


def build_gather(table: int, width: int, rows: int, local: bool = False) -> Built:
    index = torch.randint(0, table, (rows,), dtype=torch.int32)
    index = index.sort().values if local else index
    return Function(lambda t, i: torch.index_select(t, 0, i)), (torch.randn(table, width), index)


def build_elementwise(kind: str, shape: Sequence[int]) -> Built:
    """One elementwise function of one tensor of a shape, or of two."""
    functions: dict[str, Callable[..., Tensor]] = {
        "relu": torch.relu,
        "silu": functional.silu,
        "gelu": functional.gelu,
        "hswish": functional.hardswish,
        "sigmoid": torch.sigmoid,
        "add": torch.add,
        "add_relu": lambda x, y: torch.relu(x + y),
        "mul_add": lambda x, y: x * y + x,
        "chain": lambda x: torch.tanh(torch.sigmoid(x) * x + 0.5) - torch.exp(-x.abs()),
        "softplus": functional.softplus,
        "gate": lambda x, y: x * torch.sigmoid(y),
    }
    count = len(inspect.signature(functions[kind]).parameters) if kind in ("add_relu", "mul_add", "gate") else 1
    count = 2 if kind == "add" else count
    return Function(functions[kind]), tuple(torch.randn(*shape) for _ in range(count))


def build_concat(batch: int, widths: Sequence[int], size: int) -> Built:
    return Function(lambda *maps: torch.cat(maps, dim=1)), tuple(torch.randn(batch, c, size, size) for c in widths)


def build_concat_conv(batch: int, widths: Sequence[int], size: int, cout: int) -> Built:
    return _ConcatConv(sum(widths), cout), tuple(torch.randn(batch, c, size, size) for c in widths)


class _ConcatConv(nn.Module):
    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.conv = conv_block(cin, cout, 1)

    def forward(self, *maps: Tensor) -> Tensor:
        result: Tensor = self.conv(torch.cat(maps, dim=1))
        return result


def build_permute(shape: Sequence[int], order: Sequence[int]) -> Built:
    return Function(lambda x: x.permute(*order).contiguous()), (torch.randn(*shape),)


def build_reduce(kind: str, shape: Sequence[int], axis: int) -> Built:
    functions = {
        "mean": lambda x: x.mean(dim=axis),
        "sum": lambda x: x.sum(dim=axis),
        "max": lambda x: x.amax(dim=axis),
        "argmax": lambda x: x.argmax(dim=axis).to(torch.int32),
    }
    return Function(functions[kind]), (torch.randn(*shape),)
