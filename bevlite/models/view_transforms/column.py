"""Lift-splat with collapsed columns (MatrixVT, Zhou et al., ICCV 2023): two products, no gather.

The height of the feature map is collapsed: every column keeps one feature and one depth distribution, weighed by a
learnt attention over its rows. A BEV cell then takes them where it lies between columns and depth bins, by two
matrices made of the calibration: `ring` (which depth) and `ray` (which column). Approximate: what stands at one azimuth
shares a depth distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.models.contracts import Host, TensorSpec, ViewTransform
from bevlite.models.view_transforms.lift import Lift, LiftConfig
from bevlite.registry import VIEW_TRANSFORMS
from bevlite.runtime.pooling import CellGrid, Frustum
from bevlite.runtime.sampling import column_coordinates, hat_weights

PLACES, RING, RAY = "column_places", "ring", "ray"


@VIEW_TRANSFORMS.register
class ColumnConfig(LiftConfig):
    """Column collapse: as lift-splat, but heights are collapsed first.

    `z_range_m` says at which height (its middle) cells are looked at.
    """

    type: Literal["column"] = "column"

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part."""
        return Column(self, in_channels, stride, image_size, cameras, bev)


class ColumnMatrices(Host):
    """Calibration to ring and ray matrices; a batch holds the positions that they are made of."""

    needs = frozenset({"images"})

    def __init__(self, frustum: Frustum, grid: CellGrid, cameras: int) -> None:
        self._frustum, self._grid = frustum, grid
        cells = grid.ny * grid.nx
        self.inputs = (
            TensorSpec(RING, (cameras, cells, len(frustum.depths_m)), "float32", ("camera", "cell", "depth"),
                       "calibration"),
            TensorSpec(RAY, (cameras, cells, frustum.width), "float32", ("camera", "cell", "x"), "calibration"),
        )  # fmt: skip

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """`column_places` (N, P, 2): column and depth bin of every cell; -2 where it is not seen."""
        assert frame.pixel_to_bev is not None
        height_m = (self._grid.z_min + self._grid.z_max) / 2
        return {PLACES: column_coordinates(self._grid, height_m, self._frustum, frame.pixel_to_bev)}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The two matrices."""
        places = sample[PLACES]
        depths = len(self._frustum.depths_m)
        return {RING: hat_weights(places[..., 1], depths), RAY: hat_weights(places[..., 0], self._frustum.width)}

    def on_board(self) -> list[dict[str, Any]]:
        """The same matrices."""
        settings = {"frustum": asdict(self._frustum), "grid": asdict(self._grid), "ring": RING, "ray": RAY}
        return [{"step": "column_matrices", **settings}]


class Column(Lift):
    """Features (B*N, C_in, h, w) and `column_places` (B, N, P, 2) to the camera BEV map (B, C, ny, nx)."""

    def __init__(
        self,
        config: ColumnConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__(config, in_channels, stride, image_size, cameras, bev)
        self.host = ColumnMatrices(self.frustum, self.grid, cameras)
        self.attention = nn.Conv2d(in_channels, 1, 1)

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """Depth distribution and feature of every column."""
        width = self.frustum.width
        return (
            TensorSpec("depth", (self.cameras, self.depths, width), "float32", ("camera", "depth", "x"), "prepared"),
            TensorSpec("context", (self.cameras, width, self.out_channels), "float32", ("camera", "x", "channel"),
                       "prepared"),
        )  # fmt: skip

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """Depth distribution (B*N, D, w) and feature (B*N, w, C) of every column, over its rows by attention."""
        depth, context = super().prepare(features)
        share = self.attention(features).softmax(dim=2)
        return (depth * share).sum(dim=2), (context * share).sum(dim=2).transpose(1, 2)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The camera BEV map."""
        depth, context = (t.unflatten(0, (-1, self.cameras)) for t in self.prepare(features))
        places = inputs[PLACES].to(depth.dtype)
        ring, ray = _hat(places[..., 1], self.depths), _hat(places[..., 0], self.frustum.width)
        return torch.cat([self.pooled(*one) for one in zip(depth, context, ring, ray, strict=True)])

    def pooled(self, *tensors: Tensor) -> Tensor:
        """From depth (N, D, w), context (N, w, C), ring (N, P, D) and ray (N, P, w)."""
        depth, context, ring, ray = tensors
        pooled = ((ring @ depth) * ray @ context).sum(dim=0)
        return pooled.transpose(0, 1).reshape(1, -1, self.grid.ny, self.grid.nx)


def _hat(position: Tensor, count: int) -> Tensor:
    """Linear interpolation as a matrix, (...) to (..., count), as `hat_weights` of the runtime."""
    places = torch.arange(count, dtype=position.dtype, device=position.device)
    return (1 - (position[..., None] - places).abs()).clamp(min=0)
