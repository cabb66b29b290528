"""YOLOv5s as published (release 6): 7.2 M parameters, three raw outputs. The package of today ships another network.

Built from its public description, with random weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from yolox import Bottleneck, ConvAct


class _Stage(nn.Module):
    """YOLOv5's C3: two branches, one of them with bottlenecks."""

    def __init__(self, cin: int, cout: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = cout // 2
        self.first, self.second, self.last = ConvAct(cin, half, 1), ConvAct(cin, half, 1), ConvAct(cout, cout, 1)
        self.blocks = nn.Sequential(*(Bottleneck(half, shortcut, False) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.cat((self.blocks(self.first(x)), self.second(x)), 1))


class _Pyramid(nn.Module):
    """SPPF: three poolings in a row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = ConvAct(width, width // 2, 1), ConvAct(2 * width, width, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.last(torch.cat(maps, 1))


class YOLOv5s(nn.Module):
    """YOLOv5s v6 (github.com/ultralytics/yolov5, models/yolov5s.yaml) up to its three raw maps of 255 channels."""

    def __init__(self) -> None:
        super().__init__()
        stem = (nn.Conv2d(3, 32, 6, 2, 2, bias=False), nn.BatchNorm2d(32), nn.SiLU())
        self.dark3 = nn.Sequential(*stem, ConvAct(32, 64, 3, 2), _Stage(64, 64, 1), ConvAct(64, 128, 3, 2))
        self.stage3 = _Stage(128, 128, 2)
        self.dark4 = nn.Sequential(ConvAct(128, 256, 3, 2), _Stage(256, 256, 3))
        self.dark5 = nn.Sequential(ConvAct(256, 512, 3, 2), _Stage(512, 512, 1), _Pyramid(512), ConvAct(512, 256, 1))
        self.up = nn.Upsample(scale_factor=2)
        self.p4 = nn.Sequential(_Stage(512, 256, 1, False), ConvAct(256, 128, 1))
        self.p3 = _Stage(256, 128, 1, False)
        self.down3, self.n4 = ConvAct(128, 128, 3, 2), _Stage(256, 256, 1, False)
        self.down4, self.n5 = ConvAct(256, 256, 3, 2), _Stage(512, 512, 1, False)
        self.heads = nn.ModuleList(nn.Conv2d(width, 255, 1) for width in (128, 256, 512))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) to maps of strides 8, 16 and 32."""
        c3 = self.stage3(self.dark3(x))
        c4 = self.dark4(c3)
        c5 = self.dark5(c4)
        p4 = self.p4(torch.cat((self.up(c5), c4), 1))
        p3 = self.p3(torch.cat((self.up(p4), c3), 1))
        n4 = self.n4(torch.cat((self.down3(p3), p4), 1))
        n5 = self.n5(torch.cat((self.down4(n4), c5), 1))
        return tuple(head(maps) for head, maps in zip(self.heads, (p3, n4, n5), strict=True))
