"""Detectors with published latencies that no package here builds: DETR (Carion et al. 2020), MLPerf's RetinaNet."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

CLASSES = {"detr": 92, "retinanet": 264}
ANCHORS = 9


class Attention(nn.Module):
    """Multi-head attention as exporters write it: (B, N, C) queries, keys and values."""

    def __init__(self, channels: int = 256, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Of the shape of the queries."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """One layer of the transformer, norms behind; with `cross` one of the decoder."""

    def __init__(self, cross: bool) -> None:
        super().__init__()
        self.own = Attention()
        self.cross = Attention() if cross else None
        self.forwards = nn.Sequential(nn.Linear(256, 2048), nn.ReLU(), nn.Linear(2048, 256))
        self.norms = nn.ModuleList(nn.LayerNorm(256) for _ in range(3))

    def forward(self, x: Tensor, place: Tensor, memory: Tensor, memory_place: Tensor) -> Tensor:
        """(B, N, 256) to the same."""
        x = self.norms[0](x + self.own(x + place, x + place, x))
        if self.cross is not None:
            x = self.norms[1](x + self.cross(x + place, memory + memory_place, memory))
        return self.norms[2](x + self.forwards(x))  # type: ignore[no-any-return]


class DETR(nn.Module):
    """ResNet-50, six layers of an encoder, six of a decoder with 100 queries."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*list(torchvision.models.resnet50(weights=None).children())[:-2])
        self.reduce = nn.Conv2d(2048, 256, 1)
        tokens = -(-height // 32) * -(-width // 32)
        self.place = nn.Parameter(torch.zeros(1, tokens, 256))
        self.queries = nn.Parameter(torch.zeros(1, 100, 256))
        self.encoder = nn.ModuleList(Layer(cross=False) for _ in range(6))
        self.decoder = nn.ModuleList(Layer(cross=True) for _ in range(6))
        self.classes = nn.Linear(256, CLASSES["detr"])
        self.boxes = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 4))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) to the scores and boxes of 100 queries."""
        memory = self.reduce(self.backbone(images)).flatten(2).transpose(1, 2)
        for layer in self.encoder:
            memory = layer(memory, self.place, memory, self.place)
        found = torch.zeros_like(self.queries)
        for layer in self.decoder:
            found = layer(found, self.queries, memory, self.place)
        return self.classes(found), self.boxes(found).sigmoid()


class RetinaNet(nn.Module):
    """ResNeXt-50 32x4d, pyramid of five levels, two heads of four convolutions; MLPerf's 264 classes, without NMS."""

    def __init__(self) -> None:
        super().__init__()
        trunk = torchvision.models.resnext50_32x4d(weights=None)
        levels = [2, 3, 4]
        self.backbone = _resnet_fpn_extractor(trunk, 5, returned_layers=levels, extra_blocks=LastLevelP6P7(2048, 256))
        self.classes, self.boxes = (self._head(ANCHORS * width) for width in (CLASSES["retinanet"], 4))

    def _head(self, channels: int) -> nn.Sequential:
        layers = [layer for _ in range(4) for layer in (nn.Conv2d(256, 256, 3, padding=1), nn.ReLU())]
        return nn.Sequential(*layers, nn.Conv2d(256, channels, 3, padding=1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to scores and boxes of five levels."""
        return [head(level) for level in self.backbone(images).values() for head in (self.classes, self.boxes)]
