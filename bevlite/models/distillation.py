"""A stream that learns the map of another network's: hints (Romero et al., "FitNets", 2015), on BEV maps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bevlite.data.frame import Reader
from bevlite.data.teacher import LIDAR_MAP, MAP, TURN, TeacherMaps
from bevlite.grid import BEVGrid
from bevlite.models.auxiliary import AuxiliaryLoss
from bevlite.models.view_transforms.temporal import Warp

WHOLE = 0.99
"""Share of a cell that the teacher's map has to cover once it was turned as the sample was."""


class LidarMapLoss(AuxiliaryLoss):
    """How far the LiDAR stream's map is from the teacher's, relative to what the teacher's holds.

    Squared error over squared values, of all cells that both see: 1 is what a map of zeros has, whatever the scale.
    """

    name = LIDAR_MAP

    def __init__(self, folder: str | Path, channels: int, bev: BEVGrid) -> None:
        self._folder, self._shape = folder, (channels, bev.ny, bev.nx)
        self._warp = Warp(bev)

    @property
    def truth(self) -> Reader:
        """The teacher's maps."""
        return TeacherMaps(self._folder, self._shape)

    def __call__(self, result: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Map (B, C, ny, nx) against `teacher_map`, which is turned as the sample was."""
        wanted, turn = batch[MAP].float(), batch[TURN].float()
        warp = self._warp.to(wanted.device)
        # The matrix is a turn and a mirror times a scale: over the scale squared its transpose is its inverse.
        moves = turn / torch.linalg.det(turn[:, :2, :2]).abs()[:, None, None]
        seen = warp(torch.ones_like(wanted[:, :1]), moves) > WHOLE
        wanted = warp(wanted, moves)
        apart = ((result.float() - wanted) ** 2 * seen).sum()
        return apart / (wanted**2 * seen).sum().clamp(min=1e-6)
