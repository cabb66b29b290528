"""Reference heights taught by boxes (auxiliary head of CFT, Jiang et al., AAAI 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bevlite.grid import BEVGrid

NEAREST_CELLS = 3.0
"""Radius around the centre of a box that counts at least, in cells."""


def height_targets(boxes: Tensor, bev: BEVGrid) -> tuple[Tensor, Tensor]:
    """Heights of boxes on the grid.

    Args:
        boxes: (B, K, 9) x, y, z (centre), l, w, h, yaw, vx, vy in m and rad; rows of zeros are padding.
        bev: the grid.

    Returns:
        (B, 1, ny, nx) heights of centres in m, and whether a box stands there (bool); of several the last counts.
    """
    x = bev.x_range_m[0] + (torch.arange(bev.nx, device=boxes.device) + 0.5) * bev.cell_m
    y = bev.y_range_m[0] + (torch.arange(bev.ny, device=boxes.device) + 0.5) * bev.cell_m
    heights = boxes.new_zeros(boxes.shape[0], 1, bev.ny, bev.nx)
    there = torch.zeros_like(heights, dtype=torch.bool)
    for number in range(boxes.shape[1]):
        box = boxes[:, number, :, None, None]
        along, across = x[None, None, :] - box[:, 0], y[None, :, None] - box[:, 1]
        cos, sin = box[:, 6].cos(), box[:, 6].sin()
        ahead, left = along * cos + across * sin, -along * sin + across * cos
        inside = (ahead.abs() <= box[:, 3] / 2) & (left.abs() <= box[:, 4] / 2)
        near = along**2 + across**2 <= (NEAREST_CELLS * bev.cell_m) ** 2
        stands = (inside | near) & (box[:, 3] > 0)
        heights[:, 0] = torch.where(stands, box[:, 2], heights[:, 0])
        there[:, 0] |= stands
    return heights, there


def height_loss(predicted: Tensor, boxes: Tensor, bev: BEVGrid) -> Tensor:
    """Smooth L1 between reference heights (B, 1, ny, nx) m and boxes (B, K, 9), over the cells where one stands."""
    wanted, there = height_targets(boxes.float(), bev)
    weight = there.to(predicted.dtype)
    error = F.smooth_l1_loss(predicted, wanted.to(predicted.dtype), reduction="none")
    return (error * weight).sum() / weight.sum().clamp(min=1)
