"""Lookup without depth (Fast-BEV, Li et al., arXiv 2301.12511): one feature pixel a voxel, heights folded to channels.

A voxel takes the feature that its centre is projected to, whatever the depth: a single gather by a table that is an
input. Where two cameras see a voxel the later one counts, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.kernels.geometry import lookup_step
from bevlite.kernels.step import Floats, Step
from bevlite.models.contracts import Host, TensorSpec, ViewTransform, ViewTransformConfig
from bevlite.models.view_transforms.geometry import cell_grid, check_heights
from bevlite.registry import VIEW_TRANSFORMS
from bevlite.runtime.pooling import CellGrid, Frustum
from bevlite.runtime.sampling import lookup_table, slice_heights

TABLE = "voxel_index"


@VIEW_TRANSFORMS.register
class LookupConfig(ViewTransformConfig):
    """Lookup: `slices` voxels over each cell within `z_range_m`, folded to `channels` by a 1x1 convolution."""

    type: Literal["lookup"] = "lookup"
    channels: int = Field(default=64, ge=1, le=4096)
    z_range_m: tuple[float, float] = (-3.0, 3.0)
    slices: int = Field(default=4, ge=1, le=32)

    @model_validator(mode="after")
    def _range(self) -> LookupConfig:
        check_heights(self.z_range_m)
        return self

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part."""
        return Lookup(self, in_channels, stride, image_size, cameras, bev)


class LookupTables(Host):
    """Calibration to the table of voxels; training takes it as it is."""

    needs = frozenset({"images"})

    def __init__(self, frustum: Frustum, grid: CellGrid, heights_m: tuple[float, ...], cameras: int) -> None:
        self._frustum, self._grid, self._heights_m, self._cameras = frustum, grid, heights_m, cameras
        shape = (len(heights_m), grid.ny * grid.nx)
        self.inputs = (TensorSpec(TABLE, shape, "int32", ("height", "cell"), "calibration"),)

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """`voxel_index` (Z, P)."""
        assert frame.pixel_to_bev is not None
        return {TABLE: lookup_table(self._grid, self._heights_m, self._frustum, frame.pixel_to_bev)}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same."""
        return {TABLE: sample[TABLE]}

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """The table."""
        return (lookup_step(self._grid, self._heights_m, self._frustum, self._cameras),)

    def on_board(self) -> list[dict[str, Any]]:
        """The same table."""
        settings = {"frustum": asdict(self._frustum), "grid": asdict(self._grid), "heights_m": list(self._heights_m)}
        return [{"step": "voxel_lookup", "name": TABLE, **settings}]


class Lookup(ViewTransform):
    """Features (B*N, C_in, h, w) and `voxel_index` (B, Z, P) to the camera BEV map (B, C, ny, nx)."""

    def __init__(
        self,
        config: LookupConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__()
        self.cameras, self.bev = cameras, bev
        self.area = (image_size[0] // stride, image_size[1] // stride)
        heights_m = slice_heights(config.z_range_m, config.slices)
        frustum = Frustum((1.0,), *self.area, stride)
        self.host = LookupTables(frustum, cell_grid(bev, config.z_range_m), heights_m, cameras)
        self.fold = nn.Conv2d(config.slices * in_channels, config.channels, 1)

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        return self.fold.out_channels

    @property
    def in_channels(self) -> int:
        """Channels of the features."""
        return self.fold.in_channels // self.host.inputs[0].shape[0]

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """The features themselves."""
        shape = (self.cameras, self.in_channels, *self.area)
        return (TensorSpec("features", shape, "float32", ("camera", "channel", "y", "x"), "prepared"),)

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """The features (B*N, C_in, h, w)."""
        return (features,)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The camera BEV map, sample by sample."""
        per_sample = features.unflatten(0, (-1, self.cameras))
        return torch.cat([self.looked_up(f, table) for f, table in zip(per_sample, inputs[TABLE], strict=True)])

    def transform(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As exported, for a batch of one."""
        return self.looked_up(inputs["features"], inputs[TABLE])

    def looked_up(self, features: Tensor, table: Tensor) -> Tensor:
        """Features (N, C_in, h, w) and a table (Z, P) to (1, C, ny, nx)."""
        channels, slices = features.shape[1], table.shape[0]
        rows = features.permute(0, 2, 3, 1).reshape(-1, channels)
        rows = torch.cat([torch.zeros(1, channels, dtype=rows.dtype, device=rows.device), rows])
        voxels = torch.index_select(rows, 0, table.reshape(-1)).reshape(slices, self.bev.ny, self.bev.nx, channels)
        folded = voxels.permute(0, 3, 1, 2).reshape(1, slices * channels, self.bev.ny, self.bev.nx)
        return self.fold(folded)
