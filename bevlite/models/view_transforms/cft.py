"""Camera-free transformer (Jiang et al., AAAI 2023): BEV queries attend to all cameras, and no calibration enters.

As Horizon deploys it: an encoder over the tokens of each camera, then decoder layers whose queries are the cells of the
BEV grid, with a learnt position and a reference height. The height is refined from layer to layer by what the query
found (position-aware enhancement), and taught by the heights of boxes.

Nothing tells the network how a sample was augmented, so it always sees the world in the ego frame: in training its map
is turned, mirrored and scaled afterwards as the rest of the sample was (Horizon turns the features likewise), and
images are not warped (`calibrated`).

Positions are learnt, and start as sines of where a token or a query is (Vaswani et al., 2017), with the bearing and the
range of a query as its content: near tokens and near queries then look alike from the first step, and what one query
learns serves its neighbours. From random tables each query has to find its tokens by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from bevlite.data.frame import Frame, Reader
from bevlite.data.truth import BOXES, PROJECTION, BoxTruth, ProjectionTruth
from bevlite.grid import BEVGrid
from bevlite.losses.attention import attention_loss, query_points
from bevlite.losses.heights import height_loss
from bevlite.models.attention import Attention, FeedForward
from bevlite.models.auxiliary import AuxiliaryLoss, collecting, hand_out
from bevlite.models.contracts import Host, TensorSpec, ViewTransform, ViewTransformConfig
from bevlite.models.view_transforms.geometry import check_heights, check_query_stride
from bevlite.models.view_transforms.temporal import Warp
from bevlite.registry import VIEW_TRANSFORMS

BEV_AUGMENTATION = "bev_augmentation"
ATTENTION = "attention"
"""The auxiliary loss of where queries look. Ours: without a weight the network learns as it was published."""
TEMPERATURE = 100.0
"""Of the sine embedding of heights."""
OCTAVES = 5.0
"""Between the slowest and the fastest wave that positions start from."""
SHARES = (0.390625, 0.390625)
"""Of the key position that rows and columns take; the camera takes the rest (100, 100 and 56 of 256)."""


@VIEW_TRANSFORMS.register
class CFTConfig(ViewTransformConfig):
    """CFT: `embed` channels, BEV queries at every `query_stride`-th cell, `positions` rows and columns of tokens.

    z_range_m: heights that a query may refer to. Features come at a coarse stride: every token is a key.
    """

    type: Literal["cft"] = "cft"
    calibrated: ClassVar[bool] = False
    auxiliary: ClassVar[Mapping[str, float]] = {"reference_height": 0.1, ATTENTION: 0.0}
    channels: int = Field(default=64, ge=1, le=4096)
    embed: int = Field(default=256, ge=8, le=2048)
    heads: int = Field(default=8, ge=1, le=64)
    feed_forward: int = Field(default=2048, ge=1, le=16384)
    encoder_layers: int = Field(default=1, ge=0, le=12)
    decoder_layers: int = Field(default=2, ge=1, le=12)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    query_stride: Literal[1, 2, 4, 8] = 2
    positions: int = Field(default=44, ge=1, le=256)
    z_range_m: tuple[float, float] = (-5.0, 3.0)

    @model_validator(mode="after")
    def _fits(self) -> CFTConfig:
        if self.embed % self.heads or self.embed % 4:
            nearest = max(4 * self.heads, round(self.embed / (4 * self.heads)) * 4 * self.heads)
            raise ValueError(f"embed: found {self.embed} with {self.heads} heads; accepted: such as {nearest}")
        check_heights(self.z_range_m)
        return self

    def check(self, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid) -> None:
        """Tokens within the tables, and a grid that the queries divide."""
        height, width = image_size[0] // stride, image_size[1] // stride
        if max(height, width) > self.positions:
            raise ValueError(
                f"camera.view_transform.positions: found {self.positions} for {height} x {width} tokens a camera; "
                f"accepted: {max(height, width)} or more, or a neck of a coarser stride"
            )
        check_query_stride(self.query_stride, bev)

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part (raises ValueError, see `check`)."""
        self.check(stride, image_size, cameras, bev)
        return CFT(self, in_channels, stride, image_size, cameras, bev)


class FrameAugmentation(Host):
    """`bev_augmentation` (4, 4) of a batch: ego frame to the frame that the sample is in. Nothing when deployed."""

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """The matrix: mirror x turn x scale, without a shift."""
        return {BEV_AUGMENTATION: frame.bev.astype(np.float32)}


class HeightSupervision(AuxiliaryLoss):
    """Heights of boxes for the reference heights of queries: (B, 1, ny, nx) in m."""

    name = "reference_height"

    def __init__(self, bev: BEVGrid) -> None:
        self._bev = bev

    @property
    def truth(self) -> Reader:
        """The annotated boxes."""
        return BoxTruth()

    def __call__(self, result: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Smooth L1 where a box stands."""
        return height_loss(result, batch[BOXES], self._bev)


class AttentionSupervision(AuxiliaryLoss):
    """Where queries look, (B, Q, K), taught by the calibration of the training data; deployed networks know none."""

    name = ATTENTION

    def __init__(self, bev: BEVGrid, queries: tuple[int, int], area: tuple[int, int], stride: int) -> None:
        self._points = query_points(bev, queries)
        self._area, self._stride = area, stride

    @property
    def truth(self) -> Reader:
        """Projections of the ego frame into the images."""
        return ProjectionTruth()

    def __call__(self, result: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Minus the logarithm of the share that goes to the tokens in which a query lies."""
        return attention_loss(result, batch[PROJECTION], self._points, self._area, self._stride)


class CFT(ViewTransform):
    """Features (B*N, C_in, h, w) to the camera BEV map (B, C, ny, nx), without any geometry."""

    def __init__(
        self,
        config: CFTConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__()
        self.cameras, self.bev, self.z_range_m = cameras, bev, config.z_range_m
        self.area = (image_size[0] // stride, image_size[1] // stride)
        self.queries = (bev.ny // config.query_stride, bev.nx // config.query_stride)
        embed = config.embed
        self.enter = nn.Conv2d(in_channels, embed, 1)
        rows, columns = (int(share * embed) for share in SHARES)
        self.key_rows = nn.Parameter(along(config.positions, self.area[0], rows))
        self.key_columns = nn.Parameter(along(config.positions, self.area[1], columns))
        self.key_cameras = nn.Parameter(torch.randn(cameras, embed - rows - columns))
        self.query_rows = nn.Parameter(along(self.queries[0], self.queries[0], embed))
        # Both tables are summed: other channels have the same frequency in the second one.
        self.query_columns = nn.Parameter(along(self.queries[1], self.queries[1], embed).roll(embed // 4, dims=1))
        self.content = nn.Parameter(bearing_and_range(bev, self.queries, embed))
        self.height = nn.Sequential(nn.Linear(embed, embed), nn.ReLU(), nn.Linear(embed, 1))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(config, first=i == 0) for i in range(config.decoder_layers))
        self.leave = nn.Conv2d(embed, config.channels, 1)
        self.host = FrameAugmentation()
        self.warp = Warp(bev)
        self.auxiliaries = (
            HeightSupervision(bev),
            AttentionSupervision(bev, self.queries, self.area, stride),
        )

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        return self.leave.out_channels

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """Tokens of all cameras."""
        shape = (self.cameras, self.area[0] * self.area[1], self.enter.out_channels)
        return (TensorSpec("tokens", shape, "float32", ("camera", "token", "channel"), "prepared"),)

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """Tokens (B*N, h*w, E)."""
        return (self.enter(features).flatten(2).transpose(1, 2),)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The camera BEV map."""
        (tokens,) = self.prepare(features)
        augmented = inputs.get(BEV_AUGMENTATION) if self.training else None
        seen: list[Tensor] | None = [] if collecting() else None
        bev, heights = self.attended(tokens, seen)
        if augmented is not None:
            # The matrix is a turn and a mirror times a scale: over the scale squared its transpose is its inverse.
            scale = torch.linalg.det(augmented[:, :2, :2].float()).abs().sqrt()[:, None, None]
            moves = augmented / scale**2
            bev, heights = self.warp(bev, moves), self.warp(heights, moves) * scale[..., None]
        hand_out("reference_height", heights)
        if seen:
            hand_out(ATTENTION, torch.stack(seen).mean(0))
        return bev

    def transform(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As exported, for a batch of one."""
        return self.attended(inputs["tokens"])[0]

    def attended(self, tokens: Tensor, seen: list[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Tokens (B*N, L, E) to the map (B, C, ny, nx) and the reference heights (B, 1, ny, nx) in m.

        seen: takes of each decoder layer the share of each token in each query, (B, Q, N*L).
        """
        keys = self.key_position()
        encoded = tokens.unflatten(0, (-1, self.cameras))
        for layer in self.encoder:
            encoded = layer(encoded, keys)
        memory = encoded.flatten(1, 2)
        position = self.query_position()
        height_m = self.reference_height(position)
        embedded = sine_embedding(height_m, self.z_range_m, position.shape[-1])
        found = self.content.expand(memory.shape[0], -1, -1)
        for layer in self.decoder:
            found, embedded = layer(found, memory, keys.flatten(0, 1), position, embedded, seen)
        return self.on_the_grid(found), self._heights(height_m, memory.shape[0])

    def key_position(self) -> Tensor:
        """Learnt position of every token, (N, L, E): row, column, camera."""
        height, width = self.area
        rows = self.key_rows[:height, None].expand(-1, width, -1)
        columns = self.key_columns[None, :width].expand(height, -1, -1)
        within = torch.cat([rows, columns], dim=-1).reshape(height * width, -1)
        cameras = self.key_cameras[:, None].expand(-1, height * width, -1)
        return torch.cat([within.expand(self.cameras, -1, -1), cameras], dim=-1)

    def query_position(self) -> Tensor:
        """Learnt position of every query, (Q, E)."""
        return (self.query_rows[:, None] + self.query_columns[None]).flatten(0, 1)

    def reference_height(self, position: Tensor) -> Tensor:
        """Height that each query refers to, (Q, 1) m."""
        low, high = self.z_range_m
        heights: Tensor = self.height(position).sigmoid() * (high - low) + low
        return heights

    def on_the_grid(self, found: Tensor) -> Tensor:
        """Queries (B, Q, E) to the map (B, C, ny, nx)."""
        bev = self.leave(found.transpose(1, 2).unflatten(2, self.queries))
        if self.queries == (self.bev.ny, self.bev.nx):
            return bev
        return F.interpolate(bev, size=(self.bev.ny, self.bev.nx), mode="bilinear", align_corners=False)

    def _heights(self, height_m: Tensor, batch: int) -> Tensor:
        heights = height_m.reshape(1, 1, *self.queries)
        grown = F.interpolate(heights, size=(self.bev.ny, self.bev.nx), mode="bilinear", align_corners=False)
        return grown.expand(batch, -1, -1, -1)


class EncoderLayer(nn.Module):
    """Attention among the tokens of one camera, pre-norm, residuals on what was normalised."""

    def __init__(self, config: CFTConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.embed)
        self.attention = Attention(config.embed, config.heads, config.dropout)
        self.norm2 = nn.LayerNorm(config.embed)
        self.feed_forward = FeedForward(config.embed, config.feed_forward, config.dropout)

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Tokens (B, N, L, E) with positions (N, L, E)."""
        x = self.norm(tokens)
        placed = x + position
        x = x + self.attention(placed, placed, x)
        x = self.norm2(x)
        return x + self.feed_forward(x)


class DecoderLayer(nn.Module):
    """Queries attend to the tokens of all cameras, post-norm; all but the first refine the embedding of the height."""

    def __init__(self, config: CFTConfig, *, first: bool) -> None:
        super().__init__()
        embed = config.embed
        self.refine = None if first else nn.Sequential(nn.Linear(embed, embed), nn.ReLU(), nn.Linear(embed, embed))
        self.attention = Attention(embed, config.heads, config.dropout)
        self.norm = nn.LayerNorm(embed)
        self.feed_forward = FeedForward(embed, config.feed_forward, config.dropout)
        self.norm2 = nn.LayerNorm(embed)

    def forward(
        self,
        target: Tensor,
        memory: Tensor,
        keys: Tensor,
        position: Tensor,
        height: Tensor,
        seen: list[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Target (B, Q, E), memory (B, K, E), positions (K, E) and (Q, E), height (Q, E) or (B, Q, E)."""
        if self.refine is not None:
            height = height * self.refine(target)
        height = height + position
        found = self.attention(target + position + height, memory + keys, memory, seen)
        target = self.norm(target + found)
        return self.norm2(target + self.feed_forward(target)), height


def along(count: int, within: int, channels: int) -> Tensor:
    """Sines of `count` places on a line, (count, channels): the first `within` of them span it from -1 to 1.

    Sines in the first half of the channels, cosines in the second; a quarter of the slowest wave spans 0 to 1.
    """
    places = (2 * torch.arange(count, dtype=torch.float32) + 1) / within - 1
    return waves(places * math.pi / 2, octaves(-(-channels // 2)))[:, :channels]


def bearing_and_range(bev: BEVGrid, queries: tuple[int, int], channels: int) -> Tensor:
    """Sines of where each query (y, x) lies from the car, (Q, channels): first half its bearing, second half its range.

    Waves of the bearing close around the car; a quarter of the slowest wave of the range spans 0 to the farthest query.
    """
    places = (
        low + (torch.arange(count, dtype=torch.float32) + 0.5) * (high - low) / count
        for (low, high), count in zip((bev.y_range_m, bev.x_range_m), queries, strict=True)
    )
    y, x = torch.meshgrid(*places, indexing="ij")
    bearing, far = torch.atan2(y, x).flatten(), torch.hypot(x, y).flatten()
    scaled = far / far.max() * math.pi / 2
    return torch.cat([waves(bearing, octaves(channels // 4).round()), waves(scaled, octaves(channels // 4))], dim=1)


def octaves(count: int) -> Tensor:
    """Frequencies of so many waves: from 1 over five octaves, evenly in pitch."""
    return 2.0 ** (OCTAVES * torch.arange(count, dtype=torch.float32) / max(count, 1))


def waves(angles: Tensor, frequencies: Tensor) -> Tensor:
    """Angles (K,) in rad to sines, then cosines, of each frequency: (K, 2 * frequencies)."""
    angle = angles[:, None] * frequencies
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sine_embedding(heights_m: Tensor, z_range_m: tuple[float, float], channels: int) -> Tensor:
    """Heights (Q, 1) in m to (Q, channels): sines on even, cosines on odd channels, one period over the range."""
    low, high = z_range_m
    scaled = heights_m * (2 * math.pi / (high - low))
    place = torch.arange(channels, dtype=heights_m.dtype, device=heights_m.device)
    angle = scaled / TEMPERATURE ** (2 * torch.div(place, 2, rounding_mode="floor") / channels)
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)
