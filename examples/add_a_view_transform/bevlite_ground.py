"""A view transform of a package of its own: geometry is an input, and it has a past."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from bevlite.data.frame import Frame
from bevlite.grid import BEVGrid
from bevlite.models.contracts import Host, Result, TensorSpec, ViewTransform, ViewTransformConfig
from bevlite.registry import VIEW_TRANSFORMS


@VIEW_TRANSFORMS.register
class GroundConfig(ViewTransformConfig):
    """What each BEV cell sees on the ground, and a fading memory of the frames before."""

    type: Literal["ground"] = "ground"
    channels: int = 8

    def build(
        self, in_channels: int, stride: int, image_size: tuple[int, int], cameras: int, bev: BEVGrid
    ) -> ViewTransform:
        """The network part."""
        return Ground(self, in_channels, stride, image_size, cameras, bev)


class GroundInputs(Host):
    """`bev_to_pixel`: BEV metres to (u * depth, v * depth, depth, 1); `past_bev`: the map of the frame before."""

    needs = frozenset({"images", "past"})

    def __init__(self, cameras: int, channels: int, bev: BEVGrid) -> None:
        matrices, maps = (1, cameras, 4, 4), (1, channels, bev.ny, bev.nx)
        map_axes = ("batch", "channel", "y", "x")
        self.inputs = (
            TensorSpec("bev_to_pixel", matrices, "float32", ("batch", "camera", "row", "column"), "calibration"),
            TensorSpec("past_bev", maps, "float32", map_axes, "state", fed_by="camera_bev"),
        )

    def sample(self, frame: Frame) -> dict[str, np.ndarray]:
        """Of one frame; what is remembered is no business of the data."""
        return {"bev_to_pixel": np.linalg.inv(frame.pixel_to_bev).astype(np.float32)}


class Ground(ViewTransform):
    """Features at the place where the cell's centre on the ground lies in each image, summed over the cameras."""

    def __init__(
        self,
        config: GroundConfig,
        in_channels: int,
        stride: int,
        image_size: tuple[int, int],
        cameras: int,
        bev: BEVGrid,
    ) -> None:
        super().__init__()
        self.config, self.bev = config, bev
        self.host = GroundInputs(cameras, config.channels, bev)
        self.reduce = nn.Conv2d(in_channels, config.channels, 1)
        self.fade = nn.Parameter(torch.tensor(0.5))
        size = (cameras, config.channels, image_size[0] // stride, image_size[1] // stride)
        self._prepared = TensorSpec("image_features", size, "float32", ("camera", "channel", "y", "x"), "prepared")
        y, x = (
            low + bev.cell_m * (torch.arange(n) + 0.5)
            for low, n in ((bev.y_range_m[0], bev.ny), (bev.x_range_m[0], bev.nx))
        )
        cells = torch.stack([x.repeat(bev.ny), y.repeat_interleave(bev.nx), torch.zeros(bev.ny * bev.nx)])
        self.register_buffer("cells", torch.cat([cells, torch.ones_like(cells[:1])]), persistent=False)
        self.register_buffer("pixels", torch.tensor([image_size[1], image_size[0]]).view(2, 1), persistent=False)

    @property
    def prepared(self) -> tuple[TensorSpec, ...]:
        """Reduced features."""
        return (self._prepared,)

    @property
    def out_channels(self) -> int:
        """Channels of the map."""
        return self.config.channels

    def prepare(self, features: Tensor) -> tuple[Tensor, ...]:
        """In the camera's module."""
        return (self.reduce(features),)

    def forward(self, features: Tensor, inputs: Mapping[str, Tensor]) -> Result:
        """In training; here it is what the export does."""
        return self.transform({**inputs, "image_features": self.reduce(features)})

    def transform(self, inputs: Mapping[str, Tensor]) -> Result:
        """The map; as `camera_bev` it is also what the next frame remembers."""
        features, matrices = inputs["image_features"], inputs["bev_to_pixel"]
        place = (matrices @ self.cells)[:, :, :3]
        depth = place[:, :, 2:]
        place = (2 * place[:, :, :2] / depth.clamp(min=0.1) / self.pixels - 1).clamp(-2, 2)
        grid = place.transpose(2, 3).reshape(-1, self.bev.ny, self.bev.nx, 2)
        seen = (depth > 0.1).float().reshape(-1, 1, self.bev.ny, self.bev.nx)
        maps = nn.functional.grid_sample(features, grid, align_corners=False) * seen
        maps = maps.reshape(-1, matrices.shape[1], *maps.shape[1:]).sum(dim=1)
        return maps + self.fade * inputs["past_bev"]
