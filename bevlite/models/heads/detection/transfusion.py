"""TransFusion head (Bai et al., CVPR 2022; sizes of mit-han-lab/bevfusion's `transfusion/default.yaml`).

A heat map proposes places, and a transformer decoder makes one box of each: queries that attend to each other and to
the map. Departures from the model: peaks may lie at the border of the map, where the model's maximum is never taken;
the branches of the boxes start at typical sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.grid import BEVGrid, cells_between
from bevlite.models.attention import Attention, FeedForward
from bevlite.models.contracts import HeadConfig, PrecisionOf
from bevlite.models.deployed import is_deployed
from bevlite.models.heads.priors import BOX_BRANCHES, HEATMAP_BIAS, box_priors, start_at
from bevlite.models.layers import conv_bn_relu, split_for
from bevlite.registry import DETECTION_HEADS
from bevlite.tasks.detection import HEATMAP, QUERIES, QueryForm

CLASSES = len(DETECTION_CLASSES)
WIDE_CLASSES = tuple(DETECTION_CLASSES.index(name) for name in DETECTION_CLASSES[:-2])
"""Classes whose peaks are the largest of 3 x 3 cells: all but pedestrians and traffic cones, which stand close."""
NO_PEAK = -1e4
"""Logit of a cell that is no peak; FP16 holds it."""
MOST_KEYS = 200 * 200
"""Cells of a map that fused attention in FP16 takes safely: from about 65,504 keys on it gives NaN."""
LARGEST_SIDE = 2048
"""Cells along a side that FP16 tells apart."""


@DETECTION_HEADS.register
class TransFusionConfig(HeadConfig):
    """TransFusion: `proposals` queries of `channels`, refined by `layers` decoder layers.

    heads: of the attentions. feed_forward, branch_channels: hidden channels of a layer's feed-forward network and of
    each branch of its boxes. All layers are taught alike.
    """

    type: Literal["transfusion"] = "transfusion"
    auxiliary: ClassVar[Mapping[str, float]] = {"query": 1.0}
    channels: int = Field(default=128, ge=8, le=2048)
    proposals: int = Field(default=200, ge=1, le=3839)  # TensorRT's TopK takes less than 3840
    layers: int = Field(default=1, ge=1, le=6)
    heads: int = Field(default=8, ge=1, le=64)
    feed_forward: int = Field(default=256, ge=1, le=16384)
    branch_channels: int = Field(default=64, ge=1, le=2048)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> TransFusionConfig:
        if self.channels % self.heads:
            nearest = max(1, round(self.channels / self.heads)) * self.heads
            raise ValueError(f"channels: found {self.channels} with {self.heads} heads; accepted: such as {nearest}")
        return self

    def form(self, bev: BEVGrid) -> QueryForm:
        """Queries."""
        return QueryForm(bev, self.proposals)

    def check(self, bev: BEVGrid) -> None:
        """Enough places to propose: every cell may hold a pedestrian and a traffic cone."""
        places = (CLASSES - len(WIDE_CLASSES)) * bev.nx * bev.ny
        if self.proposals > places:
            raise ValueError(
                f"heads.detection.proposals: found {self.proposals} on a BEV grid of {bev.ny} x {bev.nx} cells; "
                f"accepted: at most {places} on this grid"
            )

    def check_precision(self, bev: BEVGrid, precision_of: PrecisionOf) -> None:
        """In FP16 or INT8 no more keys than fused attention takes, and cells that FP16 tells apart."""
        words = [precision_of(f"layers.{layer}.cross_attention") for layer in range(self.layers)]
        narrow = next((word for word in words if word != "fp32"), None)
        if narrow is not None and bev.nx * bev.ny > MOST_KEYS:
            raise ValueError(
                f"heads.detection: found transfusion on a BEV grid of {bev.ny} x {bev.nx} cells in {narrow}, whose "
                "fused attention gives NaN from about 65504 cells on; accepted: at most 200 x 200 cells "
                f"(bev.cell_m {nearest_cell_m(bev):g}), or compression.precision fp32 for fusion_heads"
            )
        if precision_of("") != "fp32" and max(bev.nx, bev.ny) > LARGEST_SIDE:
            raise ValueError(
                f"heads.detection: found transfusion on a BEV grid of {bev.ny} x {bev.nx} cells in "
                f"{precision_of('')}, which tells {LARGEST_SIDE} cells of a side apart; accepted: at most "
                f"{LARGEST_SIDE} cells a side, or compression.precision fp32 for fusion_heads"
            )

    def build(self, in_channels: int, bev: BEVGrid) -> TransFusionHead:
        """The network part."""
        return TransFusionHead(self, in_channels, bev)


def nearest_cell_m(bev: BEVGrid) -> float:
    """The smallest cell, not under that of a grid, with which its range has at most `MOST_KEYS` whole cells."""
    length = bev.x_range_m[1] - bev.x_range_m[0]
    for columns in range(bev.nx, 0, -1):
        rows = cells_between(*bev.y_range_m, length / columns)
        if rows is not None and rows * columns <= MOST_KEYS:
            return length / columns
    return length


class TransFusionHead(nn.Module):
    """(B, C, ny, nx) to heat map logits (B, 10, ny, nx) and queries (B, layers, 24, K), see `QUERIES`."""

    places: Tensor

    def __init__(self, config: TransFusionConfig, in_channels: int, bev: BEVGrid) -> None:
        super().__init__()
        channels = config.channels
        self.proposals, self.columns = config.proposals, bev.nx
        self.shared = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.heatmap = nn.Sequential(conv_bn_relu(channels, channels), nn.Conv2d(channels, CLASSES, 3, padding=1))
        self.class_embedding = nn.Conv2d(CLASSES, channels, 1)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.branches = nn.ModuleList(BoxBranches(config) for _ in range(config.layers))
        rows, columns = (torch.arange(count, dtype=torch.float32) + 0.5 for count in (bev.ny, bev.nx))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        self.register_buffer("places", torch.stack([x, y]).view(1, 2, 1, -1), persistent=False)
        last = self.heatmap[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, HEATMAP_BIAS)

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        """The maps as trained."""
        shared = self.shared(bev)
        heatmap = self.heatmap(shared)
        best, kind, cell = self.proposed(heatmap)
        features = shared.flatten(2)
        numbers = torch.arange(CLASSES, device=kind.device).view(1, -1, 1)
        own = (kind[:, None] == numbers).to(features.dtype)[:, :, None]
        index = cell[:, None].expand(-1, features.shape[1], -1)
        query = features.gather(2, index)[:, :, None] + self.class_embedding(own)
        row = torch.div(cell, self.columns, rounding_mode="trunc")
        corner = torch.stack([cell - row * self.columns, row], dim=1).float()  # whole numbers up to the grid's sides
        place = torch.cat([kind[:, None].float(), corner, _still(best)[:, None].sigmoid().float()], dim=1)
        offset = torch.full_like(corner, 0.5)
        found = []
        for layer, branches in zip(self.layers, self.branches, strict=True):
            query = layer(query, shared.flatten(2)[:, :, None], (corner + offset)[:, :, None], self.places)
            moved, rest, logits = branches(query)
            found.append(torch.cat([place, logits.float(), offset + moved.float(), rest.float()], dim=1))
            offset = _still(offset + moved.float())
        return {HEATMAP: heatmap, QUERIES: torch.stack(found, dim=1)}

    def proposed(self, heatmap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best peaks of logits (B, 10, ny, nx): their logits, classes and cells, each (B, K), best first.

        Classes and cells stay whole numbers: as FP16 the number of a class's cell would lose digits from 2048 on.
        """
        wide, close = heatmap[:, : len(WIDE_CLASSES)], heatmap[:, len(WIDE_CLASSES) :]
        peak = wide == functional.max_pool2d(wide, 3, stride=1, padding=1)
        wide = torch.where(peak, wide, wide.new_full((1,), NO_PEAK))
        cells = heatmap.shape[2] * heatmap.shape[3]
        best, index = torch.cat([wide, close], dim=1).flatten(1).topk(self.proposals, dim=1)
        kind = torch.div(index, cells, rounding_mode="trunc")
        return best, kind, index - kind * cells


class PositionEmbedding(nn.Sequential):
    """Places (B, 2, 1, L) x and y in cells to (B, C, 1, L): two 1x1 convolutions, the first with BN and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv_bn_relu(2, channels, kernel=1), nn.Conv2d(channels, channels, 1))

    def forward(self, places: Tensor) -> Tensor:
        """Never in BF16 or FP16 while training: a place on the map has more digits than these hold."""
        if places.is_meta or not torch.is_autocast_enabled(places.device.type):
            return super().forward(places)
        with torch.autocast(places.device.type, enabled=False):
            return super().forward(places)


class DecoderLayer(nn.Module):
    """Queries attend to each other, then to the map, each with an embedding of its place; norms come last."""

    def __init__(self, config: TransFusionConfig) -> None:
        super().__init__()
        channels = config.channels
        self.query_position, self.key_position = PositionEmbedding(channels), PositionEmbedding(channels)
        self.self_attention = Attention(channels, config.heads, config.dropout)
        self.cross_attention = Attention(channels, config.heads, config.dropout)
        self.feed_forward = FeedForward(channels, config.feed_forward, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, query: Tensor, features: Tensor, query_places: Tensor, key_places: Tensor) -> Tensor:
        """Query (B, C, 1, K), features (B, C, 1, L) and the places of both (B, 2, 1, .) to a query (B, C, 1, K)."""
        own, key = _tokens(self.query_position(query_places)), _tokens(features + self.key_position(key_places))
        x = _tokens(query)
        place = x + own
        x = self.norms[0](x + self.dropout(self.self_attention(place, place, place)))
        x = self.norms[1](x + self.dropout(self.cross_attention(x + own, key, key)))
        x = self.norms[2](x + self.dropout(self.feed_forward(x)))
        return x.transpose(1, 2)[:, :, None]


class BoxBranches(nn.Module):
    """Queries (B, C, 1, K) to a move (B, 2, K) in cells, the other box values (B, 8, K) and class logits (B, 10, K).

    The hidden layers of all branches read the same queries: one convolution with the channels of all.
    """

    def __init__(self, config: TransFusionConfig) -> None:
        super().__init__()
        widths = [width for _, width in BOX_BRANCHES] + [CLASSES]
        self.hidden = conv_bn_relu(config.channels, len(widths) * config.branch_channels, kernel=1)
        self.last = nn.ModuleList(nn.Conv2d(config.branch_channels, width, 1) for width in widths)
        *boxes, classes = self.last
        start_at(boxes, {**box_priors(DETECTION_CLASSES), "offset": (0.0, 0.0)})  # a query begins amid its cell
        assert isinstance(classes, nn.Conv2d) and classes.bias is not None
        nn.init.constant_(classes.bias, HEATMAP_BIAS)

    def forward(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move, rest, logits."""
        parts = split_for(self.hidden(query), list(self.last))
        moved, *rest, logits = (conv(part).flatten(2) for conv, part in zip(self.last, parts, strict=True))
        return moved, torch.cat(rest, dim=1), logits


def _still(x: Tensor) -> Tensor:
    """Without its gradient. Deployed there is none, and a graph from shapes alone knows no such operation."""
    return x if is_deployed() else x.detach()


def _tokens(x: Tensor) -> Tensor:
    """(B, C, 1, L) to (B, L, C)."""
    return x.flatten(2).transpose(1, 2)
