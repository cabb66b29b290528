"""The streams of a network, and what follows their fusion: each built from its own parts of a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bevlite.data.teacher import LIDAR_MAP
from bevlite.grid import BEVGrid
from bevlite.models.auxiliary import hand_out
from bevlite.models.contracts import IMAGE_MEAN, IMAGE_STD, Backbone, Neck, Part, Result, ViewTransform
from bevlite.models.modality import drop_streams
from bevlite.models.view_transforms.temporal import Aligned
from bevlite.tasks.contract import Task
from bevlite.variant import CameraStream, Heads, ImageConfig, LidarStream


class CameraModule(nn.Module):
    """Images (B, N, 3, H, W) uint8 to the neck's map; normalisation is its first operation."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, neck: Neck) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone, self.neck = backbone, neck

    def forward(self, images: Tensor) -> Tensor:
        """The neck's map (B*N, C, h, w)."""
        x = (images.float().flatten(0, 1) - self.mean) / self.std
        features: Tensor = self.neck(self.backbone(x))
        return features


class LidarModule(nn.Module):
    """What the pillar encoder's host gives to the LiDAR BEV map."""

    def __init__(self, config: LidarStream, bev: BEVGrid) -> None:
        super().__init__()
        self.pillars = config.pillars.build(bev)
        self.backbone = config.backbone.build(config.pillars.channels)
        self.neck = config.neck.build(self.backbone.feature_info, round(bev.cell_m / config.pillars.cell_m))

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        return int(self.neck.out_channels)

    def forward(self, inputs: Mapping[str, Tensor]) -> Result:
        """(B, C, ny, nx)."""
        canvas, more = parted(self.pillars(inputs))
        bev = self.neck(self.backbone(canvas))
        hand_out(LIDAR_MAP, bev)
        return bev, more


class FusionHeads(nn.Module):
    """BEV maps of the streams, camera first, to the raw maps of all heads."""

    def __init__(self, fusion: Any, bev_encoder: Any, heads: Heads, bev: BEVGrid, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.fusion = fusion.build(list(in_channels))
        self.modality_dropout: float = fusion.modality_dropout
        self.bev_encoder = bev_encoder.build(fusion.out_channels(list(in_channels)))
        self.tasks: tuple[Task, ...] = heads.tasks(bev)
        out_channels = self.bev_encoder.out_channels
        self.heads = nn.ModuleDict({task.name: task.head.build(out_channels, bev) for task in self.tasks})

    def forward(self, maps: Sequence[Tensor], inputs: Mapping[str, Tensor]) -> Result:
        """The raw maps by name, as trained, are the second part of the result."""
        if self.training and self.modality_dropout:
            maps = drop_streams(maps, self.modality_dropout)
        fused = self.fusion(maps)
        takes_more = isinstance(self.bev_encoder, Part) and self.bev_encoder.host.inputs
        encoded, more = parted(self.bev_encoder(fused, inputs) if takes_more else self.bev_encoder(fused))
        outputs: dict[str, Tensor] = dict(more)
        for head in self.heads.values():
            outputs |= head(encoded)
        return encoded, outputs

    def deployed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The raw maps as engines give them, in the order of the tasks."""
        return {name: value for task in self.tasks for name, value in task.deployed(outputs).items()}


def parted(result: Result) -> tuple[Tensor, Mapping[str, Tensor]]:
    """The map of a part, and what the next frame takes."""
    return result if isinstance(result, tuple) else (result, {})


def build_camera(stream: CameraStream) -> CameraModule:
    """Backbone and neck of a camera stream."""
    backbone = stream.backbone.build()
    return CameraModule(backbone, stream.neck.build(backbone.feature_info))


def build_view_transform(config: Any, channels: int, stride: int, images: ImageConfig, bev: BEVGrid) -> ViewTransform:
    """A view transform for features of so many channels at a stride in px, with the frame before where it asks."""
    transform: ViewTransform = config.build(channels, stride, (images.height, images.width), images.cameras, bev)
    return Aligned(transform, bev) if config.temporal else transform
