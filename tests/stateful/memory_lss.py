"""A view transform with a past, added from outside: lift-splat that remembers its map.

out = now + past / 2 * clip(1 - |t| / 8, 0, 1), where t is the car's motion since the frame before in m. It takes points
as well: the number of returns in front of the car dims the map, so that every source of inputs is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from bevlite.data.frame import Frame, Need
from bevlite.grid import BEVGrid
from bevlite.models.contracts import EgoMotion, Host, TensorSpec
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.models.view_transforms.lss_tables import PoolingTables

PAST, NEXT = "past_bev", "next_bev"


class MemoryLSSConfig(LSSConfig):
    type: Literal["memory_lss"] = "memory_lss"  # type: ignore[assignment]

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> LiftSplat:
        return MemoryLSS(self, in_channels, stride, image_size, cameras, bev)


class MemoryHost(Host):
    """Tables of the calibration, ego motion, a float from the points, and the map of the frame before."""

    needs: frozenset[Need] = frozenset({"images", "points", "past"})

    def __init__(self, tables: PoolingTables, shape: tuple[int, ...]) -> None:
        self.tables, self.motion = tables, EgoMotion()
        axes = ("batch", "channel", "y", "x")
        self.inputs = (
            *tables.inputs,
            *self.motion.inputs,
            TensorSpec("ahead", (1, 1), "float32", ("batch", "count"), "points"),
            TensorSpec(PAST, shape, "float32", axes, "state", fed_by=NEXT),
        )

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        assert frame.points is not None
        ahead = np.mean(frame.points[:, 0] > 5, keepdims=True, dtype=np.float32)
        return self.tables.sample(frame) | self.motion.sample(frame) | {"ahead": ahead}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return self.tables.deployed(sample) | {name: sample[name][None] for name in ("ego_motion", "ahead")}


class MemoryLSS(LiftSplat):
    def __init__(
        self,
        config: MemoryLSSConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__(config, in_channels, stride, image_size, cameras, bev)
        self.tables = self.host
        self.host = MemoryHost(self.tables, (1, config.channels, bev.ny, bev.nx))

    def remember(self, bev: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        moved = inputs["ego_motion"][:, :3, 3].abs().sum(dim=1)
        kept = torch.clamp(1 - moved / 8, min=0, max=1).to(bev.dtype).view(-1, 1, 1, 1)
        out = bev * (1 + inputs["ahead"].to(bev.dtype).view(-1, 1, 1, 1)) + inputs[PAST].to(bev.dtype) * 0.5 * kept
        return out, {NEXT: out}

    def forward(  # type: ignore[override]
        self, features: Tensor, inputs: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return self.remember(super().forward(features, inputs), inputs)

    def transform(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        given = dict(inputs)
        tables = [given[spec.name] for spec in (*self.prepared, *self.tables.inputs)]
        return self.remember(self.pooled(*tables), given)
