"""What each kind of part takes and gives. A part that keeps its contract fits every network.

Shape letters: B batch, N cameras, C channels, H rows, W columns, P pillars, M points a pillar.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from bevlite.config import Config
from bevlite.grid import BEVGrid


class FeatureInfo(NamedTuple):
    """Channels of a feature map, and how many input pixels (or cells) one step of it spans."""

    channels: int
    stride: int


class Backbone(nn.Module):
    """Normalised images `(B*N, 3, H, W)` to a list of maps `(B*N, C_i, H/s_i, W/s_i)`, finest first."""

    feature_info: list[FeatureInfo]


class BackboneConfig(Config):
    """A camera backbone."""

    type: str

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the maps that it hands out, finest first."""
        return (4, 8, 16, 32)

    def build(self) -> Backbone:
        """The network part."""
        raise TypeError(f"{type(self).__name__} has no build()")


class Neck(nn.Module):
    """A list of maps `(B*N, C_i, H_i, W_i)` to one map `(B*N, channels, H/out_stride, W/out_stride)`."""


class NeckConfig(Config):
    """A neck between camera backbone and view transform."""

    type: str
    channels: int
    out_stride: int

    def build(self, feature_info: Sequence[FeatureInfo]) -> Neck:
        """The network part for maps of these channels and strides."""
        raise TypeError(f"{type(self).__name__} has no build()")


class ViewTransform(nn.Module):
    """Image features and geometry to a camera BEV map `(B, C, ny, nx)`.

    `prepare` runs in the camera module, `transform` in the view transform module; the geometry enters `transform`
    as input tensors, never as constants, so that one engine serves any calibration. `forward` is the road of
    training and evaluation, which may use other means to the same end.
    """

    prepared_names: tuple[str, ...]
    """Names of the tensors that `prepare` gives, as they appear at the border of the exported modules."""

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """From the neck's map `(B*N, C, h, w)` to what crosses the border between the two modules."""
        raise TypeError(f"{type(self).__name__} has no prepare()")

    def forward(self, features: Tensor, pixel_to_bev: Tensor) -> Tensor:
        """From the neck's map and `pixel_to_bev` (B, N, 4, 4) to the camera BEV map."""
        raise TypeError(f"{type(self).__name__} has no forward()")

    def transform(self, *inputs: Tensor) -> Tensor:
        """As exported: prepared tensors, then the geometry tensors in the order of `geometry_shapes`."""
        raise TypeError(f"{type(self).__name__} has no transform()")

    @property
    def geometry_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every INT32 geometry input of the exported module."""
        raise TypeError(f"{type(self).__name__} has no geometry_shapes")

    def geometry(self, pixel_to_bev: np.ndarray) -> dict[str, np.ndarray]:
        """The geometry inputs for one calibration (N, 4, 4), computed on the host."""
        raise TypeError(f"{type(self).__name__} has no geometry()")


class ViewTransformConfig(Config):
    """A view transform. `channels` are those of the camera BEV map."""

    type: str
    channels: int
    ego_motion: bool = False

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part for features of this stride on images of `image_size` (H, W) px."""
        raise TypeError(f"{type(self).__name__} has no build()")


class PillarEncoderConfig(Config):
    """How points become a dense canvas `(B, channels, ny, nx)` of pillars."""

    type: str
    cell_m: float
    z_range_m: tuple[float, float]
    max_pillars: int
    max_points: int
    channels: int

    def build(self) -> nn.Module:
        """The network part: pillars (B, 5, M, P) and index (B, ny, nx) to the canvas."""
        raise TypeError(f"{type(self).__name__} has no build()")


class MapBackboneConfig(Config):
    """A 2D backbone over a BEV canvas."""

    type: str

    @property
    def cumulative_strides(self) -> tuple[int, ...]:
        """Stride of every map that it hands out, with respect to its input."""
        raise TypeError(f"{type(self).__name__} has no cumulative_strides")

    def build(self, in_channels: int) -> nn.Module:
        """The network part; it has `feature_info`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class MapNeckConfig(Config):
    """A neck that brings the maps of a 2D backbone to one stride."""

    type: str

    def possible_strides(self, strides: Sequence[int]) -> tuple[float, ...]:
        """The output strides that it can reach from maps of these strides."""
        raise TypeError(f"{type(self).__name__} has no possible_strides()")

    def build(self, feature_info: Sequence[FeatureInfo], out_stride: float) -> nn.Module:
        """The network part; it has `out_channels`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class FusionConfig(Config):
    """Fusion of one or two BEV maps of the same grid."""

    type: str
    channels: int

    def build(self, in_channels: Sequence[int]) -> nn.Module:
        """The network part: a list of maps (B, C_i, ny, nx), camera first, to one (B, channels, ny, nx)."""
        raise TypeError(f"{type(self).__name__} has no build()")


class BEVEncoderConfig(Config):
    """The network over the fused BEV map; its output has the same grid."""

    type: str

    @property
    def total_stride(self) -> int:
        """The coarsest stride inside; the BEV grid must be divisible by it."""
        raise TypeError(f"{type(self).__name__} has no total_stride")

    def build(self, in_channels: int) -> nn.Module:
        """The network part; it has `out_channels`."""
        raise TypeError(f"{type(self).__name__} has no build()")


class HeadConfig(Config):
    """A head: the encoded BEV map in, named raw maps out."""

    type: str

    def build(self, in_channels: int, bev: BEVGrid) -> nn.Module:
        """The network part: `(B, C, ny, nx)` to a dict of raw maps."""
        raise TypeError(f"{type(self).__name__} has no build()")
