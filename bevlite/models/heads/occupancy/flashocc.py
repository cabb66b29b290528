"""FlashOcc's occupancy head (Yu et al., arXiv 2311.12058): channels become height, no 3D convolution.

With Horizon's crop: the BEV map is cut to the range of the labels, convolved there, brought to 0.4 m and predicted.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from bevlite.grid import BEVGrid, cells_between
from bevlite.models.contracts import HeadConfig
from bevlite.registry import OCCUPANCY_HEADS
from bevlite.tasks.occupancy import OCCUPANCY

RANGE_M = (-40.0, 40.0)
SIZE = 200  # cells along x and y, 0.4 m
LEVELS = 16  # voxels along z, 0.4 m from -1 m
CLASSES = 18  # 17 is free


@OCCUPANCY_HEADS.register
class FlashOccConfig(HeadConfig):
    """3x3 convolution on the cropped map, bilinear resize to 200 x 200, then two 1x1 with Softplus between."""

    type: Literal["flashocc"] = "flashocc"
    channels: int = Field(default=128, gt=0)

    def check(self, bev: BEVGrid) -> None:
        """Raise a ValueError unless the label range of +-40 m is a whole number of cells inside the grid."""
        for axis, (low, high) in (("x", bev.x_range_m), ("y", bev.y_range_m)):
            inside = low <= RANGE_M[0] and high >= RANGE_M[1]
            whole = inside and (low == RANGE_M[0] or cells_between(low, RANGE_M[0], bev.cell_m) is not None)
            if not whole or cells_between(*RANGE_M, bev.cell_m) is None:
                raise ValueError(
                    f"heads.occupancy: found a BEV grid of {axis} [{low}, {high}] m in cells of {bev.cell_m} m; "
                    "accepted: one that covers +-40 m and has that border between two cells"
                )

    def build(self, in_channels: int, bev: BEVGrid) -> FlashOccHead:
        """The network part."""
        return FlashOccHead(self, in_channels, bev)


class FlashOccHead(nn.Module):
    """(B, C, ny, nx) to logits (B, 18, 16 z, 200 y, 200 x)."""

    def __init__(self, config: FlashOccConfig, in_channels: int, bev: BEVGrid) -> None:
        super().__init__()
        self.x0 = cells_between(bev.x_range_m[0], RANGE_M[0], bev.cell_m) or 0
        self.y0 = cells_between(bev.y_range_m[0], RANGE_M[0], bev.cell_m) or 0
        self.count = cells_between(*RANGE_M, bev.cell_m) or 0
        self.conv = nn.Sequential(nn.Conv2d(in_channels, config.channels, 3, padding=1), nn.ReLU(inplace=True))
        self.predict = nn.Sequential(
            nn.Conv2d(config.channels, 2 * config.channels, 1),
            nn.Softplus(),
            nn.Conv2d(2 * config.channels, CLASSES * LEVELS, 1),
        )

    def forward(self, bev: Tensor) -> dict[str, Tensor]:
        """The raw map (see the class)."""
        x = bev[:, :, self.y0 : self.y0 + self.count, self.x0 : self.x0 + self.count]
        x = self.conv(x)
        if self.count != SIZE:
            # A literal factor exports as constant scales, which every TensorRT reads.
            x = functional.interpolate(x, scale_factor=SIZE / self.count, mode="bilinear", align_corners=False)
        logits = self.predict(x).view(-1, CLASSES, LEVELS, SIZE, SIZE)
        return {OCCUPANCY: logits}
