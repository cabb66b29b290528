"""Variant to network: the streams, their fusion and the heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import ViewTransform
from bevlite.runtime.pillars import PillarGrid
from bevlite.variant import LidarStream, Variant

IMAGE_MEAN = (123.675, 116.28, 103.53)  # RGB, ImageNet
IMAGE_STD = (58.395, 57.12, 57.375)
STREAM_MODULES = {
    "camera": ("camera", "view_transform"),
    "lidar": ("lidar",),
    "heads": ("fusion_heads.bev_encoder", "fusion_heads.heads"),
}
"""Which parts of a network hold the weights of a stream, or of what follows the fusion."""


class CameraModule(nn.Module):
    """Images (B, N, 3, H, W) uint8 to the neck's map; normalisation is its first operation."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, neck: nn.Module) -> None:
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
    """Pillars (B, 5, M, P) and index (B, ny, nx) to the LiDAR BEV map."""

    def __init__(self, config: LidarStream, bev: BEVGrid) -> None:
        super().__init__()
        self.pillars = config.pillars.build()
        self.backbone = config.backbone.build(config.pillars.channels)
        self.neck = config.neck.build(self.backbone.feature_info, round(bev.cell_m / config.pillars.cell_m))
        self.out_channels = int(self.neck.out_channels)

    def forward(self, pillars: Tensor, pillar_index: Tensor) -> Tensor:
        """(B, C, ny, nx)."""
        bev: Tensor = self.neck(self.backbone(self.pillars(pillars, pillar_index)))
        return bev


class FusionHeads(nn.Module):
    """BEV maps of the streams, camera first, to the raw maps of all heads."""

    def __init__(self, variant: Variant, in_channels: list[int]) -> None:
        super().__init__()
        self.fusion = variant.fusion.build(in_channels)
        self.bev_encoder = variant.bev_encoder.build(variant.fusion.channels)
        self.heads = nn.ModuleDict(
            {
                task: getattr(variant.heads, task).build(self.bev_encoder.out_channels, variant.bev)
                for task in variant.tasks
            }
        )

    def forward(self, *maps: Tensor) -> dict[str, Tensor]:
        """The raw maps by name."""
        encoded = self.bev_encoder(self.fusion(maps))
        outputs: dict[str, Tensor] = {}
        for head in self.heads.values():
            outputs |= head(encoded)
        return outputs


class Detector(nn.Module):
    """The whole network of a variant.

    Its inputs are a mapping with, for a camera stream, `images` (B, N, 3, H, W) uint8 and `pixel_to_bev`
    (B, N, 4, 4), and for a LiDAR stream `pillars` (B, 5, M, P) and `pillar_index` (B, ny, nx).
    """

    camera: CameraModule | None
    view_transform: ViewTransform | None
    lidar: LidarModule | None

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.camera = self.view_transform = self.lidar = None
        channels = []
        if variant.camera is not None:
            stream = variant.camera
            backbone = stream.backbone.build()
            neck = stream.neck.build(backbone.feature_info)
            self.view_transform = stream.view_transform.build(
                stream.neck.channels,
                stream.neck.out_stride,
                (stream.images.height, stream.images.width),
                stream.images.cameras,
                variant.bev,
            )
            assert self.view_transform is not None
            self.camera = CameraModule(backbone, neck)
            channels.append(stream.view_transform.channels)
        if variant.lidar is not None:
            self.lidar = LidarModule(variant.lidar, variant.bev)
            channels.append(self.lidar.out_channels)
        self.fusion_heads = FusionHeads(variant, channels)

    def forward(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """The raw maps; with `depth_logits` (B*N, D, h, w) in training where the view transform lifts by depth."""
        maps, extra = [], {}
        if self.camera is not None and self.view_transform is not None:
            features = self.camera(inputs["images"])
            maps.append(self.view_transform(features, inputs["pixel_to_bev"]))
            if self.training and hasattr(self.view_transform, "depth_logits"):
                depth_logits: Any = self.view_transform.depth_logits
                extra["depth_logits"] = depth_logits(features)
        if self.lidar is not None:
            maps.append(self.lidar(inputs["pillars"], inputs["pillar_index"]))
        outputs: dict[str, Tensor] = self.fusion_heads(*maps)
        return outputs | extra

    def stream_state(self, stream: str) -> dict[str, Tensor]:
        """The weights of one stream (`camera` or `lidar`), or of the encoder and `heads`, by name."""
        prefixes = tuple(f"{name}." for name in STREAM_MODULES[stream])
        return {key: value for key, value in self.state_dict().items() if key.startswith(prefixes)}


def pillar_grid(variant: Variant) -> PillarGrid:
    """How the points of this variant are grouped (its LiDAR stream must exist)."""
    assert variant.lidar is not None
    config = variant.lidar.pillars
    canvas = BEVGrid(x_range_m=variant.bev.x_range_m, y_range_m=variant.bev.y_range_m, cell_m=config.cell_m)
    return PillarGrid(
        x_min=canvas.x_range_m[0],
        y_min=canvas.y_range_m[0],
        cell_m=config.cell_m,
        nx=canvas.nx,
        ny=canvas.ny,
        z_min=config.z_range_m[0],
        z_max=config.z_range_m[1],
        max_pillars=config.max_pillars,
        max_points=config.max_points,
        relative=getattr(config, "coordinates", "pillar") == "pillar",
    )
