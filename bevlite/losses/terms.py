"""Losses that tasks and parts are made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bevlite.losses.targets import BoxTargets
from bevlite.runtime.decoding import BOX_CHANNELS

IGNORED = 255
"""The label that counts nothing."""


def gaussian_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss with Gaussian-reduced negatives (alpha 2, gamma 4; CornerNet), summed over the number of peaks."""
    logits = logits.float()
    probability = logits.sigmoid()
    peak = target == 1
    positive = functional.logsigmoid(logits) * (1 - probability) ** 2
    negative = functional.logsigmoid(-logits) * probability**2 * (1 - target) ** 4
    total = torch.where(peak, positive, negative).sum()
    return -total / peak.sum().clamp(min=1)


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0, alpha: float | None = None) -> Tensor:
    """Focal loss of independent binary classes, by element (Lin et al., ICCV 2017).

    logits and target of one shape; target 0 or 1. alpha: weight of what is there, 1 - alpha of what is not; None for no
    weights.
    """
    logits, target = logits.float(), target.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probability = logits.sigmoid()
    wrong = torch.where(target > 0, 1 - probability, probability)
    loss = entropy * wrong**gamma
    return loss if alpha is None else loss * torch.where(target > 0, alpha, 1 - alpha)


def box_loss(maps: Tensor, targets: BoxTargets, groups: Sequence[Sequence[int]], velocity_weight: float) -> Tensor:
    """L1 of the box values at the centres, averaged over the boxes of each group and summed over the groups.

    Unknown (NaN) velocities count nothing. maps: (B, 10 a group, ny, nx); groups: classes of each.
    """
    group_of_class = torch.empty(sum(map(len, groups)), dtype=torch.int64)
    for group, channels in enumerate(groups):
        group_of_class[list(channels)] = group
    owner = group_of_class.to(maps.device)[targets.classes]
    flat = maps.flatten(2).float()
    channel = owner[:, None] * BOX_CHANNELS + torch.arange(BOX_CHANNELS, device=maps.device)
    predicted = flat[targets.batch[:, None], channel, targets.cell[:, None]]
    known = torch.isfinite(targets.values)
    difference = (predicted - torch.where(known, targets.values, predicted.detach())).abs()
    weights = difference.new_ones(BOX_CHANNELS)
    weights[8:] = velocity_weight
    there = targets.there.to(difference.dtype)
    per_box = (difference * weights).sum(dim=1) * there
    counts = there.new_zeros(len(groups)).index_add(0, owner, there)
    return (per_box / (counts[owner] + 1e-4)).sum()


def masked_cross_entropy(logits: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Cross entropy averaged over what a mask leaves.

    logits (B, C, ...); target and mask (B, ...).
    """
    kept = torch.where(mask, target.long(), torch.full_like(target, IGNORED, dtype=torch.int64))
    total = functional.cross_entropy(logits.float(), kept, ignore_index=IGNORED, reduction="sum")
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
