"""YOLOX from its paper (arXiv:2107.08430), with random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvAct(nn.Sequential):
    """Convolution, BatchNorm, SiLU."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(cout),
            nn.SiLU(),
        )


def conv(cin: int, cout: int, kernel: int, stride: int = 1, depthwise: bool = False) -> nn.Module:
    """A convolution, or its depthwise-separable form (YOLOX-nano)."""
    if not depthwise:
        return ConvAct(cin, cout, kernel, stride)
    return nn.Sequential(ConvAct(cin, cin, kernel, stride, groups=cin), ConvAct(cin, cout, 1))


class Bottleneck(nn.Module):
    """1x1, 3x3, and the shortcut when the widths allow it."""

    def __init__(self, width: int, shortcut: bool, depthwise: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(ConvAct(width, width, 1), conv(width, width, 3, depthwise=depthwise))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return self.layers(x) + x if self.shortcut else self.layers(x)


class CSP(nn.Module):
    """Cross-stage partial layer with `depth` bottlenecks."""

    def __init__(self, cin: int, cout: int, depth: int, shortcut: bool = True, depthwise: bool = False) -> None:
        super().__init__()
        half = cout // 2
        self.first, self.second = ConvAct(cin, half, 1), ConvAct(cin, half, 1)
        self.blocks = nn.Sequential(*(Bottleneck(half, shortcut, depthwise) for _ in range(depth)))
        self.last = ConvAct(cout, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, cin, H, W) to (B, cout, H, W)."""
        return self.last(torch.cat((self.blocks(self.first(x)), self.second(x)), 1))


class SPP(nn.Module):
    """Spatial pyramid pooling with windows 5, 9, 13."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = ConvAct(width, width // 2, 1), ConvAct(width * 2, width, 1)
        self.pools = nn.ModuleList(nn.MaxPool2d(k, 1, k // 2) for k in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        x = self.first(x)
        return self.last(torch.cat((x, *(pool(x) for pool in self.pools)), 1))


class YOLOX(nn.Module):
    """YOLOX (arXiv:2107.08430): CSPDarknet, PAFPN, decoupled head. Raw maps; no decoding, no NMS."""

    def __init__(self, depth: float, width: float, depthwise: bool = False, classes: int = 80) -> None:
        super().__init__()
        c = [int(base * width) for base in (64, 128, 256, 512, 1024)]
        n = max(round(depth * 3), 1)

        def block(cin: int, cout: int, d: int, shortcut: bool = True) -> CSP:
            return CSP(cin, cout, d, shortcut, depthwise)

        def down(cin: int, cout: int) -> nn.Module:
            return conv(cin, cout, 3, 2, depthwise)

        self.stem = ConvAct(12, c[0], 3)
        self.dark2 = nn.Sequential(down(c[0], c[1]), block(c[1], c[1], n))
        self.dark3 = nn.Sequential(down(c[1], c[2]), block(c[2], c[2], 3 * n))
        self.dark4 = nn.Sequential(down(c[2], c[3]), block(c[3], c[3], 3 * n))
        self.dark5 = nn.Sequential(down(c[3], c[4]), SPP(c[4]), block(c[4], c[4], n, False))
        self.up = nn.Upsample(scale_factor=2)
        self.lateral5, self.p4 = ConvAct(c[4], c[3], 1), block(2 * c[3], c[3], n, False)
        self.reduce4, self.p3 = ConvAct(c[3], c[2], 1), block(2 * c[2], c[2], n, False)
        self.down3, self.n3 = down(c[2], c[2]), block(2 * c[2], c[3], n, False)
        self.down4, self.n4 = down(c[3], c[3]), block(2 * c[3], c[4], n, False)
        h = int(256 * width)
        self.stems = nn.ModuleList(ConvAct(channels, h, 1) for channels in c[2:])
        self.classify, self.regress = (
            nn.ModuleList(
                nn.Sequential(conv(h, h, 3, depthwise=depthwise), conv(h, h, 3, depthwise=depthwise)) for _ in range(3)
            )
            for _ in range(2)
        )
        self.scores = nn.ModuleList(nn.Conv2d(h, classes, 1) for _ in range(3))
        self.boxes = nn.ModuleList(nn.Conv2d(h, 4, 1) for _ in range(3))
        self.objects = nn.ModuleList(nn.Conv2d(h, 1, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, anchors, 85)."""
        x = torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1)
        c3 = self.dark3(self.dark2(self.stem(x)))
        c4 = self.dark4(c3)
        lateral5 = self.lateral5(self.dark5(c4))
        p4 = self.reduce4(self.p4(torch.cat((self.up(lateral5), c4), 1)))
        p3 = self.p3(torch.cat((self.up(p4), c3), 1))
        n3 = self.n3(torch.cat((self.down3(p3), p4), 1))
        n4 = self.n4(torch.cat((self.down4(n3), lateral5), 1))
        outputs = []
        for i, level in enumerate((p3, n3, n4)):
            stem = self.stems[i](level)
            boxes = self.regress[i](stem)
            parts = (
                self.boxes[i](boxes),
                self.objects[i](boxes).sigmoid(),
                self.scores[i](self.classify[i](stem)).sigmoid(),
            )
            outputs.append(torch.cat(parts, 1).flatten(2))
        return torch.cat(outputs, 2).permute(0, 2, 1)


YOLOX_SIZES = {
    "yolox_nano": (0.33, 0.25, True),
    "yolox_tiny": (0.33, 0.375, False),
    "yolox_s": (0.33, 0.5, False),
    "yolox_m": (0.67, 0.75, False),
    "yolox_l": (1.0, 1.0, False),
}
