"""Layers of other code bases in plain torch, under their published names and in their published sizes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvModule(nn.Module):
    """mmcv's: a convolution, a norm `bn` where there is one, ReLU where there is a norm."""

    def __init__(self, a: int, b: int, kernel: int, *, norm: bool = True, dims: int = 2) -> None:
        super().__init__()
        conv, bn = (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv1d, nn.BatchNorm1d)
        self.conv = conv(a, b, kernel, padding=kernel // 2, bias=not norm)
        if norm:
            self.bn = bn(b)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x))) if hasattr(self, "bn") else self.conv(x)


class SECOND(nn.Module):
    def __init__(self, width: int, channels: list[int], layers: list[int], strides: list[int]) -> None:
        super().__init__()
        blocks = []
        for c, count, stride in zip(channels, layers, strides, strict=True):
            block: list[nn.Module] = []
            for j in range(count + 1):
                block += [nn.Conv2d(width if j == 0 else c, c, 3, stride if j == 0 else 1, 1, bias=False),
                          nn.BatchNorm2d(c, eps=1e-3), nn.ReLU()]  # fmt: skip
            blocks.append(nn.Sequential(*block))
            width = c
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


class SECONDFPN(nn.Module):
    def __init__(self, channels: list[int], out: int, factors: list[float]) -> None:
        super().__init__()
        blocks = []
        for c, factor in zip(channels, factors, strict=True):
            size = round(factor if factor > 1 else 1 / factor)
            resize = nn.ConvTranspose2d if factor > 1 else nn.Conv2d
            blocks.append(
                nn.Sequential(resize(c, out, size, size, bias=False), nn.BatchNorm2d(out, eps=1e-3), nn.ReLU())
            )
        self.deblocks = nn.ModuleList(blocks)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return torch.cat([block(x) for block, x in zip(self.deblocks, maps, strict=True)], dim=1)


class CenterHead(nn.Module):
    """Raw maps of each group by name."""

    def __init__(self, width: int, groups: tuple[int, ...] = (1, 2, 2, 1, 2, 2)) -> None:
        super().__init__()
        self.shared_conv = ConvModule(width, 64, 3)
        sizes = {"reg": 2, "height": 1, "dim": 3, "rot": 2, "vel": 2}
        self.task_heads = nn.ModuleList(
            nn.ModuleDict(
                {name: nn.Sequential(ConvModule(64, 64, 3), nn.Conv2d(64, size, 3, padding=1))
                 for name, size in {**sizes, "heatmap": classes}.items()}
            )
            for classes in groups
        )  # fmt: skip

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        x = self.shared_conv(x)
        return [{name: branch(x) for name, branch in head.items()} for head in self.task_heads]  # type: ignore[operator]


def settled(module: nn.Module, seed: int = 0) -> nn.Module:
    """As after a training: statistics and biases that matter, values that neither grow nor vanish."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.3, 0.6)
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.2)
    return module.eval()


def heading(sine: Tensor, cosine: Tensor, older: bool) -> Tensor:
    """Direction (cos, sin) from x to y of a box; the older yaw of mmdetection3d is -a - 90 degrees."""
    yaw = torch.atan2(sine, cosine)
    angle = -yaw - torch.pi / 2 if older else yaw
    return torch.stack([angle.cos(), angle.sin()])


def lwh(sizes: Tensor, older: bool) -> Tensor:
    """Sizes (3, ...) as length, width, height; the older boxes begin with the width."""
    return torch.stack([sizes[1], sizes[0], sizes[2]]) if older else sizes
