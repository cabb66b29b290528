"""Losses of the heads, and of the depth distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bevlite.runtime.decoding import BOX_CHANNELS, TASKS
from bevlite.training.recipe import LossWeights
from bevlite.training.targets import BoxTargets, box_targets
from bevlite.variant import Variant


def gaussian_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss with Gaussian-reduced negatives (alpha 2, gamma 4; CornerNet), summed over the number of peaks."""
    logits = logits.float()
    probability = logits.sigmoid()
    peak = target == 1
    positive = functional.logsigmoid(logits) * (1 - probability) ** 2
    negative = functional.logsigmoid(-logits) * probability**2 * (1 - target) ** 4
    total = torch.where(peak, positive, negative).sum()
    return -total / peak.sum().clamp(min=1)


def box_loss(maps: Tensor, targets: BoxTargets, velocity_weight: float) -> Tensor:
    """L1 of the box values at the centres, averaged over the boxes of each task and summed over the tasks.

    Unknown (NaN) velocities count nothing. maps: (B, 60, ny, nx).
    """
    task_of_class = torch.empty(sum(map(len, TASKS)), dtype=torch.int64)
    for task, channels in enumerate(TASKS):
        task_of_class[list(channels)] = task
    tasks = task_of_class.to(maps.device)[targets.classes]
    flat = maps.flatten(2).float()
    channel = tasks[:, None] * BOX_CHANNELS + torch.arange(BOX_CHANNELS, device=maps.device)
    predicted = flat[targets.batch[:, None], channel, targets.cell[:, None]]
    known = torch.isfinite(targets.values)
    difference = (predicted - torch.where(known, targets.values, predicted.detach())).abs()
    weights = difference.new_ones(BOX_CHANNELS)
    weights[8:] = velocity_weight
    per_box = (difference * weights).sum(dim=1)
    counts = torch.bincount(tasks, minlength=len(TASKS)).to(per_box.dtype)
    return (per_box / (counts[tasks] + 1e-4)).sum()


def occupancy_loss(logits: Tensor, semantics: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy over the voxels that a camera sees, averaged over them.

    logits (B, 18, z, y, x); semantics and mask (B, x, y, z).
    """
    target = semantics.permute(0, 3, 2, 1).long()
    target = torch.where(mask.permute(0, 3, 2, 1), target, torch.full_like(target, 255))
    total = functional.cross_entropy(logits.float(), target, ignore_index=255, reduction="sum")
    return total / mask.sum().clamp(min=1)


def depth_loss(logits: Tensor, depth_m: Tensor, depths_m: tuple[float, ...]) -> Tensor:
    """Cross entropy of the depth distribution against LiDAR depth (BEVDepth, Li et al., AAAI 2023).

    logits (B*N, D, h, w); depth_m (B, N, h, w), 0 where no point falls or it is outside the bins.
    """
    step = depths_m[1] - depths_m[0] if len(depths_m) > 1 else 1.0
    near = depths_m[0] - step / 2
    target = torch.floor((depth_m.flatten(0, 1) - near) / step).long()
    target = torch.where((target >= 0) & (target < len(depths_m)), target, torch.full_like(target, -1))
    total = functional.cross_entropy(logits.float(), target, ignore_index=-1, reduction="sum")
    return total / (target >= 0).sum().clamp(min=1)


def total_loss(
    variant: Variant, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: LossWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of all terms that the variant has, and the terms by name (weighted)."""
    terms: dict[str, Tensor] = {}
    if "heatmap" in outputs:
        targets = box_targets(batch["boxes"], batch["labels"], variant.bev)
        terms["heatmap"] = weights.heatmap * gaussian_focal_loss(outputs["heatmap"], targets.heatmap)
        terms["box"] = weights.box * box_loss(outputs["boxes"], targets, weights.velocity)
    if "occupancy" in outputs:
        terms["occupancy"] = weights.occupancy * occupancy_loss(
            outputs["occupancy"], batch["occupancy"], batch["occupancy_mask"]
        )
    if "depth_logits" in outputs and "depth" in batch and variant.camera is not None:
        terms["depth"] = weights.depth * depth_loss(
            outputs["depth_logits"], batch["depth"], variant.camera.view_transform.depths_m
        )
    return torch.stack(list(terms.values())).sum(), terms
