"""Lift-splat the other way round: each BEV cell pulls its nearest contributions (as Horizon deploys it).

A cell is looked at in slices of height and in every camera; each look gives a feature pixel and the depth bin next to
its depth. Of those, the nearest K count: one gather of K rows a cell and a product with their K depth weights, no
tree. Training takes the same tables, so that what is trained is what is deployed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.models.contracts import Host, TensorSpec, ViewTransform
from bevlite.models.view_transforms.lift import Lift, LiftConfig
from bevlite.registry import VIEW_TRANSFORMS
from bevlite.runtime.pooling import CellGrid, Frustum
from bevlite.runtime.sampling import pull_tables, slice_heights

DEPTH_INDEX, FEATURE_INDEX = "depth_index", "feature_index"


@VIEW_TRANSFORMS.register
class PullConfig(LiftConfig):
    """Pull: as lift-splat, but each cell takes at most `contributions`, found in `slices` of height."""

    type: Literal["pull"] = "pull"
    z_range_m: tuple[float, float] = (-3.0, 3.0)
    slices: int = Field(default=8, ge=1, le=64)
    contributions: int = Field(default=10, ge=1, le=64)

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part."""
        return Pull(self, in_channels, stride, image_size, cameras, bev)


class PullTables(Host):
    """Calibration to what each cell takes; training takes it as it is."""

    needs = frozenset({"images"})

    def __init__(self, frustum: Frustum, grid: CellGrid, heights_m: tuple[float, ...], contributions: int) -> None:
        self._frustum, self._grid, self._heights_m, self._contributions = frustum, grid, heights_m, contributions
        shape = (grid.ny * grid.nx, contributions)
        self.inputs = tuple(
            TensorSpec(name, shape, "int32", ("cell", "entry"), "calibration") for name in (DEPTH_INDEX, FEATURE_INDEX)
        )

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """`depth_index` and `feature_index` (P, K)."""
        assert frame.pixel_to_bev is not None
        return pull_tables(self._grid, self._heights_m, self._frustum, frame.pixel_to_bev, self._contributions)

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same."""
        return {name: sample[name] for name in (DEPTH_INDEX, FEATURE_INDEX)}

    def on_board(self) -> list[dict[str, Any]]:
        """The same tables."""
        settings = {"frustum": asdict(self._frustum), "grid": asdict(self._grid), "heights_m": list(self._heights_m)}
        return [{"step": "pull", **settings, "contributions": self._contributions}]


class Pull(Lift):
    """Features (B*N, C_in, h, w) and the tables (B, P, K) to the camera BEV map (B, C, ny, nx)."""

    def __init__(
        self,
        config: PullConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__(config, in_channels, stride, image_size, cameras, bev)
        heights_m = slice_heights(config.z_range_m, config.slices)
        self.host = PullTables(self.frustum, self.grid, heights_m, config.contributions)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The camera BEV map, sample by sample."""
        depth, context = (t.unflatten(0, (-1, self.cameras)) for t in self.prepare(features))
        tables = (inputs[DEPTH_INDEX], inputs[FEATURE_INDEX])
        return torch.cat([self.pooled(*one) for one in zip(depth, context, *tables, strict=True)])

    def pooled(self, *tensors: Tensor) -> Tensor:
        """The sum of K weighted rows a cell, from depth (N, D, h, w), context (N, C, h, w) and the tables (P, K)."""
        depth, context, depth_index, feature_index = tensors
        cells, count = depth_index.shape
        channels = context.shape[1]
        weights = torch.cat([torch.zeros(1, dtype=depth.dtype, device=depth.device), depth.reshape(-1)])
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        taken = torch.index_select(rows, 0, feature_index.reshape(-1)).reshape(cells, count, channels)
        weight = torch.index_select(weights, 0, depth_index.reshape(-1)).reshape(cells, 1, count)
        pooled = (weight @ taken).reshape(cells, channels)
        return pooled.transpose(0, 1).reshape(1, channels, self.grid.ny, self.grid.nx)
