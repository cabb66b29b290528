"""Lift-splat with LiDAR depth (DepthLSSTransform of BEVFusion, Liu et al., ICRA 2023).

A sparse depth image of the LiDAR points goes through three convolutions and joins the image features before the depth
net. Pooling is that of lift-splat. The whole transform needs the points, so image features cross the border between
the modules and everything after them runs in the view transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from bevlite.data.frame import Frame, Need
from bevlite.data.lidar import depth_map
from bevlite.grid import BEVGrid
from bevlite.kernels.depth import depth_step
from bevlite.kernels.step import Floats, Step
from bevlite.models.contracts import Host, TensorSpec, ViewTransform
from bevlite.models.layers import conv_bn_relu
from bevlite.models.view_transforms.lss import LiftSplat, LSSConfig
from bevlite.models.view_transforms.lss_tables import PoolingTables
from bevlite.registry import VIEW_TRANSFORMS

LIDAR_DEPTH = "lidar_depth"


@VIEW_TRANSFORMS.register
class DepthLSSConfig(LSSConfig):
    """Lift-splat with LiDAR depth; `hidden` are the channels of the depth net's two convolutions."""

    type: Literal["depth_lss"] = "depth_lss"  # type: ignore[assignment]
    hidden: int = Field(default=256, ge=1, le=4096)

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part (raises ValueError for a stride that the depth image cannot be brought to)."""
        return DepthLSS(self, in_channels, stride, image_size, cameras, bev)


class DepthImages(Host):
    """Pooling tables, and the nearest LiDAR depth of every pixel of the images."""

    needs: frozenset[Need] = frozenset({"images", "points"})

    def __init__(self, tables: PoolingTables, cameras: int, image_size: tuple[int, int]) -> None:
        self.tables = tables
        spec = TensorSpec(LIDAR_DEPTH, (cameras, 1, *image_size), "float32", ("camera", "depth", "y", "x"), "points")
        self._depth, self._size = spec, image_size

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:  # type: ignore[override]
        """The depth images, and the tables."""
        return (self._depth, *self.tables.inputs)

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """`lidar_depth` (N, 1, H, W) in m, 0 where no point falls, and `pixel_to_bev` (N, 4, 4)."""
        assert frame.points is not None and frame.pixel_to_bev is not None
        bev_to_pixel = np.linalg.inv(frame.pixel_to_bev)
        depth = depth_map(frame.points[:, :3], bev_to_pixel, self._size, stride=1)
        return {LIDAR_DEPTH: depth[:, None], **self.tables.sample(frame)}

    def deployed(self, sample: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The depth images as they are, and the tables (raises ValueError when their capacity does not suffice)."""
        return {LIDAR_DEPTH: sample[LIDAR_DEPTH], **self.tables.deployed(sample)}

    def board_steps(self, points: int, sweeps: int, floats: Floats = "float32") -> tuple[Step, ...]:
        """The tables, and the depth images."""
        images = depth_step(self._depth.shape[0], self._size, sweeps, points, name=LIDAR_DEPTH, floats=floats)
        return (*self.tables.board_steps(points, sweeps, floats), images)

    def on_board(self) -> list[dict[str, Any]]:
        """The depth images, and the tables."""
        return [{"step": "depth_images", "name": LIDAR_DEPTH, "image_size": list(self._size)}, *self.tables.on_board()]


class DepthLSS(LiftSplat):
    """Features (B*N, C_in, h, w), `lidar_depth` (B, N, 1, H, W) and `pixel_to_bev` to the BEV map (B, C, ny, nx)."""

    def __init__(
        self,
        config: DepthLSSConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__(config, in_channels, stride, image_size, cameras, bev)
        assert isinstance(self.host, PoolingTables)
        self.tables = self.host
        self.host = DepthImages(self.tables, cameras, image_size)
        first, second, third = _strides(stride)
        self.depth_stem = nn.Sequential(
            conv_bn_relu(1, 8, 1, first), conv_bn_relu(8, 32, 5, second), conv_bn_relu(32, 64, 5, third)
        )
        self.depth_stem[0][0].register_forward_hook(_channels_last)  # type: ignore[index]
        last = nn.Conv2d(config.hidden, self.depths + config.channels, 1)
        self.depth_net = nn.Sequential(
            conv_bn_relu(in_channels + 64, config.hidden), conv_bn_relu(config.hidden, config.hidden), last
        )

    @property
    def in_channels(self) -> int:
        """Channels of the features: what the depth net takes beside the LiDAR depth."""
        return int(self.depth_net[0][0].in_channels) - int(self.depth_stem[-1][0].out_channels)  # type: ignore[index]

    @property
    def context_channels(self) -> int:
        """Channels of the context."""
        return int(self.depth_net[-1].out_channels) - self.depths  # type: ignore[index]

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """The image features."""
        shape = (self.cameras, self.in_channels, self.frustum.height, self.frustum.width)
        return (TensorSpec("features", shape, "float32", ("camera", "channel", "y", "x"), "prepared"),)

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """The features as they are."""
        return (features,)

    def joined(self, features: Tensor, lidar_depth: Tensor) -> Tensor:
        """Features (B*N, C_in, h, w) with what the depth images (B*N, 1, H, W) say."""
        return torch.cat([self.depth_stem(lidar_depth), features], dim=1)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """The camera BEV map."""
        depth, context = self.lifted(self.joined(features, inputs[LIDAR_DEPTH].flatten(0, 1).to(features.dtype)))
        return self.laid_out(depth, context, inputs["pixel_to_bev"])

    def transform(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """As exported, for a batch of one."""
        depth, context = self.lifted(self.joined(inputs["features"], inputs[LIDAR_DEPTH]))
        return self.pooled(depth, context, *(inputs[spec.name] for spec in self.tables.inputs))


def _channels_last(layer: nn.Module, inputs: object, made: Tensor) -> Tensor:
    """What a convolution made of an image of one channel, in the order of all other maps.

    Of one channel torch cannot tell the order and gives channels first. A batch norm over 8 of them in that order takes
    22 ms for 48 images of 256 x 704 (H200), a tenth of a training step of bevfusion-swint.
    """
    return made.contiguous(memory_format=torch.channels_last)


def _strides(stride: int) -> tuple[int, int, int]:
    """Of the three convolutions on the depth image (raises ValueError where they do not lead to the stride)."""
    known = {8: (1, 4, 2), 16: (2, 4, 2), 32: (4, 4, 2), 4: (1, 2, 2)}
    if stride not in known or prod(known[stride]) != stride:
        raise ValueError(
            f"depth_lss: found features at stride {stride}; accepted: {', '.join(map(str, sorted(known)))}"
        )
    return known[stride]
