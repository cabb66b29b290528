"""Parameters and MACs of each module of a variant."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bevlite.models.detector import Detector, pillar_grid
from bevlite.variant import Variant


@dataclass(frozen=True)
class ModuleCost:
    """Of one module: parameters, and MACs for one frame (a multiply-add of a convolution or matrix product is one)."""

    name: str
    parameters: int
    macs: int


def module_costs(variant: Variant) -> list[ModuleCost]:
    """Count every module at its deployed size, without computing anything (meta tensors)."""
    with torch.device("meta"):
        network = Detector(variant).eval()
    costs = []
    maps = []
    if network.camera is not None and network.view_transform is not None and variant.camera is not None:
        images = variant.camera.images
        x = torch.empty(1, images.cameras, 3, images.height, images.width, dtype=torch.uint8, device="meta")
        features, camera_macs = _count(network.camera, x)
        prepared, lift_macs = _count(network.view_transform.prepare, features)
        lift = _parameters(network.view_transform)
        costs.append(ModuleCost("camera", _parameters(network.camera) + lift, camera_macs + lift_macs))
        geometry = [
            torch.empty(shape, dtype=torch.int32, device="meta")
            for shape in network.view_transform.geometry_shapes.values()
        ]
        with torch.device("meta"):
            pooled, pool_macs = _count(network.view_transform.transform, *prepared, *geometry)
        costs.append(ModuleCost("view_transform", 0, pool_macs))
        maps.append(pooled)
    if network.lidar is not None and variant.lidar is not None:
        config, grid = variant.lidar.pillars, pillar_grid(variant)
        encoder = network.lidar.pillars
        pillars = torch.empty(1, 5, config.max_points, config.max_pillars, device="meta")
        _, encode_macs = _count(encoder.encode, pillars)
        canvas = torch.empty(1, config.channels, grid.ny, grid.nx, device="meta")
        stages, backbone_macs = _count(network.lidar.backbone, canvas)
        bev, neck_macs = _count(network.lidar.neck, stages)
        costs.append(ModuleCost("lidar", _parameters(network.lidar), encode_macs + backbone_macs + neck_macs))
        maps.append(bev)
    _, macs = _count(network.fusion_heads, *maps)
    costs.append(ModuleCost("fusion_heads", _parameters(network.fusion_heads), macs))
    return costs


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count(function, *inputs) -> tuple:  # type: ignore[no-untyped-def]
    """Result of a call, and its MACs: torch counts 2 FLOPs a multiply-add of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        result = function(*inputs)
    return result, counter.get_total_flops() // 2
