"""Networks small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bevlite.config import merge
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant

TINY: dict[str, Any] = {
    "name": "tiny",
    "bev": {"cell_m": 1.6},
    "camera": {
        "images": {"height": 64, "width": 192},
        "backbone": {"type": "resnet", "depth": 18},
        "neck": {"type": "lss_fpn", "channels": 16, "out_stride": 16},
        "view_transform": {"type": "lss", "channels": 8, "depth_range_m": [1.0, 49.0], "depth_step_m": 3.0},
    },
    "lidar": {
        "sweeps": 2,
        "pillars": {"type": "pfn", "cell_m": 0.8, "max_pillars": 6000, "max_points": 6, "channels": 8},
        "backbone": {"type": "second", "channels": [16, 24], "layers": [1, 1], "strides": [1, 2]},
        "neck": {"type": "secfpn", "channels": 12},
    },
    "fusion": {"type": "se", "channels": 24},
    "bev_encoder": {"type": "second_fpn", "channels": [24, 32], "layers": [0, 1], "out_channels": 16},
    "heads": {
        "detection": {"type": "centerpoint", "channels": 16},
        "occupancy": {"type": "flashocc", "channels": 16},
    },
}


def tiny(**changes: Any) -> Variant:
    """The tiny variant; changes are merged by key as configuration files are."""
    return Variant.model_validate(merge(TINY, changes))


def lidar_only(**changes: Any) -> Variant:
    """LiDAR and detection alone: the cheapest network that can be trained and scored."""
    lidar = {"backbone": {"channels": [8, 16], "layers": [0, 0], "strides": [2, 2]}}
    base = {"camera": None, "lidar": lidar, "heads": {"occupancy": None}, "name": "tiny-lidar"}
    return tiny(**merge(base, changes))


def short_recipe(**changes: Any) -> Recipe:
    """Two epochs in this process, everything saved after each."""
    values = dict(epochs=2, batch_size=2, warmup_steps=2, workers=0, save_every_s=0, precision="fp32", ema_decay=0.9)
    return Recipe.model_validate(merge(values, changes))


def live(network: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms as after training: running statistics and affine parameters that differ from channel to channel."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_mean.shape
            module.running_mean.copy_(0.3 * torch.randn(shape, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(shape, generator=generator))
            module.weight.data.copy_(0.6 + 0.8 * torch.rand(shape, generator=generator))
            module.bias.data.copy_(0.2 * torch.randn(shape, generator=generator))
    return network.eval()
