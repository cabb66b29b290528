"""BEVFormer-lite (Li et al., ECCV 2022, as Horizon deploys it): BEV queries look into the cameras that see them.

Each layer: self-attention to the map of the frame before, moved by the car's motion, and to this one; cross-attention
to the images at the projections of points over each cell; a feed-forward layer. A query attends to at most two
cameras; which, and where, are tables of the calibration, so that every camera's queries are dense and nothing depends
on the data. What the queries found is the state of the next frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.data.frame import Frame, Need
from bevlite.grid import BEVGrid
from bevlite.kernels.geometry import MOST_CAMERAS, slots_step
from bevlite.kernels.step import Floats, Step
from bevlite.models.attention import FeedForward
from bevlite.models.contracts import EgoMotion, Host, TensorSpec, ViewTransform, ViewTransformConfig
from bevlite.models.deformable import DeformableAttention
from bevlite.models.view_transforms.geometry import cell_grid, check_heights, check_query_stride
from bevlite.models.view_transforms.nominal_rig import CAMERAS, nominal_pixel_to_bev
from bevlite.models.view_transforms.temporal import Warp
from bevlite.registry import VIEW_TRANSFORMS
from bevlite.runtime.pooling import CellGrid
from bevlite.runtime.rebatching import camera_slots, needed_slots
from bevlite.runtime.sampling import slice_heights

PAST, NEXT = "past_queries", "next_queries"
TABLES = ("slot_query", "slot_reference", "query_slot", "query_share")
MARGIN, STEP = 1.2, 64  # slots over the nominal rig; calibrations of real cars vary by a few per cent


@VIEW_TRANSFORMS.register
class BEVFormerConfig(ViewTransformConfig):
    """BEVFormer-lite: queries at every `query_stride`-th cell, `pillar_points` heights over each within `z_range_m`.

    cross_points and self_points: samples of each attention. slots: queries that one camera has room for, null for a
    nuScenes-like rig with 20 % to spare. cameras_per_query: of those that see a query.
    """

    type: Literal["bevformer"] = "bevformer"
    channels: int = Field(default=64, ge=1, le=4096)
    embed: int = Field(default=128, ge=8, le=1024)
    heads: int = Field(default=8, ge=1, le=64)
    layers: int = Field(default=1, ge=1, le=6)
    feed_forward: int = Field(default=512, ge=1, le=8192)
    pillar_points: int = Field(default=2, ge=1, le=16)
    cross_points: int = Field(default=2, ge=1, le=32)
    self_points: int = Field(default=2, ge=1, le=32)
    query_stride: Literal[1, 2, 4, 8] = 1
    cameras_per_query: int = Field(default=2, ge=1, le=4)
    slots: int | None = Field(default=None, ge=1, le=65536)
    z_range_m: tuple[float, float] = (-5.0, 3.0)

    @model_validator(mode="after")
    def _fits(self) -> BEVFormerConfig:
        if self.embed % (2 * self.heads):
            nearest = max(1, round(self.embed / (2 * self.heads))) * 2 * self.heads
            raise ValueError(f"embed: found {self.embed} with {self.heads} heads; accepted: such as {nearest}")
        if self.cross_points % self.pillar_points:
            nearest = self.pillar_points * max(1, round(self.cross_points / self.pillar_points))
            raise ValueError(
                f"cross_points: found {self.cross_points} for {self.pillar_points} pillar_points; accepted: such as "
                f"{nearest}"
            )
        check_heights(self.z_range_m)
        if self.temporal:
            raise ValueError("temporal: found true; accepted: false (bevformer has a past of its own)")
        return self

    def check(self, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid) -> None:
        """A grid that the queries divide."""
        check_query_stride(self.query_stride, bev)

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part (raises ValueError, see `check`)."""
        self.check(stride, image_size, cameras, bev)
        return BEVFormer(self, in_channels, stride, image_size, cameras, bev)


class QueryTables(Host):
    """Calibration to the tables of queries and cameras, the car's motion, and the queries of the frame before."""

    needs: frozenset[Need] = frozenset({"images", "past"})

    def __init__(self, config: BEVFormerConfig, grid: CellGrid, image_size: tuple[int, int], cameras: int) -> None:
        self._config, self._grid, self._image_size, self._cameras = config, grid, image_size, cameras
        self._heights_m = slice_heights(config.z_range_m, config.pillar_points)
        self._motion = EgoMotion()

    @cached_property
    def slots(self) -> int:
        """Queries that a camera has room for."""
        if self._config.slots is not None:
            return self._config.slots
        queries = self._grid.nx * self._grid.ny
        if self._cameras != len(CAMERAS):  # no rig to go by: what no calibration can exceed
            return queries
        rig = nominal_pixel_to_bev(*self._image_size)
        overlap = self._config.cameras_per_query
        needed = MARGIN * needed_slots(self._grid, self._heights_m, rig, self._image_size, overlap)
        return min(queries, int(-(-needed // STEP)) * STEP)

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """Tables, motion, state."""
        config, cameras = self._config, self._cameras
        queries = self._grid.nx * self._grid.ny
        state = (1, config.embed, self._grid.ny, self._grid.nx)
        return (
            TensorSpec("slot_query", (cameras, self.slots), "int32", ("camera", "slot"), "calibration"),
            TensorSpec("slot_reference", (cameras, self.slots, config.pillar_points, 2), "float32",
                       ("camera", "slot", "point", "xy"), "calibration"),
            TensorSpec("query_slot", (queries, config.cameras_per_query), "int32", ("query", "entry"), "calibration"),
            TensorSpec("query_share", (queries, 1), "float32", ("query", "share"), "calibration"),
            *self._motion.inputs,
            TensorSpec(PAST, state, "float32", ("batch", "channel", "y", "x"), "state", fed_by=NEXT),
        )  # fmt: skip

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """The tables and `ego_motion`; training takes them as they are.

        Raises:
            ValueError: a camera sees more queries than it has slots for.
        """
        assert frame.pixel_to_bev is not None
        overlap = self._config.cameras_per_query
        tables = camera_slots(
            self._grid, self._heights_m, frame.pixel_to_bev, self._image_size, self.slots, overlap
        )  # fmt: skip
        return {**tables, **self._motion.sample(frame)}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The same."""
        return {**{name: sample[name] for name in TABLES}, **self._motion.deployed(sample)}

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """The tables of queries and cameras."""
        if self._cameras > MOST_CAMERAS:
            return ()
        overlap = self._config.cameras_per_query
        return (slots_step(self._grid, self._heights_m, self._image_size, self._cameras, self.slots, overlap, floats),)

    def on_board(self) -> list[dict[str, Any]]:
        """The same tables, and the motion."""
        settings = {
            "grid": asdict(self._grid),
            "heights_m": list(self._heights_m),
            "image_size": list(self._image_size),
            "slots": self.slots,
            "overlap": self._config.cameras_per_query,
        }
        return [{"step": "camera_slots", **settings}, *self._motion.on_board()]


class BEVFormer(ViewTransform):
    """Features (B*N, C_in, h, w), tables, motion and past queries to the camera BEV map (B, C, ny, nx)."""

    def __init__(
        self,
        config: BEVFormerConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__()
        self.cameras, self.bev = cameras, bev
        self.area = (image_size[0] // stride, image_size[1] // stride)
        coarse = bev.model_copy(update={"cell_m": bev.cell_m * config.query_stride})
        self.queries = (coarse.ny, coarse.nx)
        self.host = QueryTables(config, cell_grid(coarse, config.z_range_m), image_size, cameras)
        embed = config.embed
        self.enter = nn.Conv2d(in_channels, embed, 1)
        self.content = nn.Parameter(torch.randn(coarse.ny * coarse.nx, embed))
        self.rows = nn.Parameter(torch.randn(coarse.ny, embed // 2))
        self.columns = nn.Parameter(torch.randn(coarse.nx, embed // 2))
        self.warp = Warp(coarse)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.leave = nn.Conv2d(embed, config.channels, 1)
        x = (torch.arange(coarse.nx) + 0.5) * 2 / coarse.nx - 1
        y = (torch.arange(coarse.ny) + 0.5) * 2 / coarse.ny - 1
        own = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1).reshape(1, -1, 1, 2)
        self.register_buffer("own", own.float(), persistent=False)

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        return self.leave.out_channels

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """Image features of the width of the queries."""
        shape = (self.cameras, self.enter.out_channels, *self.area)
        return (TensorSpec("features", shape, "float32", ("camera", "channel", "y", "x"), "prepared"),)

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """(B*N, E, h, w)."""
        return (self.enter(features),)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The camera BEV map, and what the next frame takes."""
        return self.attended(self.enter(features), inputs, *(inputs[name] for name in TABLES))

    def transform(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """As exported, for a batch of one."""
        return self.attended(inputs["features"], inputs, *(inputs[name][None] for name in TABLES))

    def attended(
        self, features: Tensor, inputs: Mapping[str, Tensor], *tables: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """From features (B*N, E, h, w), motion, past, and the tables of a batch."""
        past = self.warp(inputs[PAST].to(features.dtype), inputs["ego_motion"])
        position = torch.cat(
            [self.rows[:, None].expand(-1, self.queries[1], -1), self.columns[None].expand(self.queries[0], -1, -1)],
            dim=-1,
        ).flatten(0, 1)
        own: Tensor = self.own  # type: ignore[assignment]
        found = self.content.to(features.dtype).expand(past.shape[0], -1, -1)
        for layer in self.layers:
            found = layer(found, position, past, own, features, *tables)
        bev = found.transpose(1, 2).unflatten(2, self.queries)
        return self._on_the_grid(self.leave(bev)), {NEXT: bev}

    def _on_the_grid(self, bev: Tensor) -> Tensor:
        if self.queries == (self.bev.ny, self.bev.nx):
            return bev
        return F.interpolate(bev, size=(self.bev.ny, self.bev.nx), mode="bilinear", align_corners=False)


class Layer(nn.Module):
    """Temporal self-attention, spatial cross-attention, feed-forward; each added, then normalised."""

    def __init__(self, config: BEVFormerConfig) -> None:
        super().__init__()
        embed = config.embed
        self.temporal = DeformableAttention(embed, config.heads, config.self_points, queries=2 * embed, maps=2)
        self.spatial = DeformableAttention(embed, config.heads, config.cross_points)
        self.feed_forward = FeedForward(embed, config.feed_forward)
        self.norms = nn.ModuleList(nn.LayerNorm(embed) for _ in range(3))

    def forward(
        self, found: Tensor, position: Tensor, past: Tensor, own: Tensor, features: Tensor, *tables: Tensor
    ) -> Tensor:
        """Queries (B, Q, E), positions (Q, E), past map (B, E, qy, qx), features (B*N, E, h, w) and the tables."""
        now = found.transpose(1, 2).unflatten(2, past.shape[2:])
        query = torch.cat([past.flatten(2).transpose(1, 2), found + position], dim=-1)
        reference = own.expand(found.shape[0], -1, -1, -1)
        found = self.norms[0](found + self.temporal(query, (past, now), reference))
        found = self.norms[1](found + self.seen(found + position, features, *tables))
        return self.norms[2](found + self.feed_forward(found))

    def seen(
        self, query: Tensor, features: Tensor, slot_query: Tensor, reference: Tensor, query_slot: Tensor, share: Tensor
    ) -> Tensor:
        """What the queries (B, Q, E) see in the cameras: packed by camera, attended, and put back."""
        packed = torch.cat([_taken(q, table) for q, table in zip(query, slot_query, strict=True)])
        answers = self.spatial(packed, (features,), reference.flatten(0, 1))
        per_sample = answers.unflatten(0, (query.shape[0], -1)).flatten(1, 2)
        back = torch.stack([_taken(a, table).sum(dim=1) for a, table in zip(per_sample, query_slot, strict=True)])
        return back * share.to(query.dtype)


def _taken(rows: Tensor, table: Tensor) -> Tensor:
    """Rows (R, E) by a table (...) of 1 + row, 0 for zeros: (..., E)."""
    padded = torch.cat([torch.zeros(1, rows.shape[1], dtype=rows.dtype, device=rows.device), rows])
    return torch.index_select(padded, 0, table.reshape(-1)).reshape(*table.shape, rows.shape[1])
