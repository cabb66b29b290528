"""How other code bases lay out BEV maps, points and boxes, and how their weights come into our frame.

Ours is the ego frame: x ahead, y left, maps `(y, x)`. nuScenes' LiDAR frame, in which mmdetection3d and BEVFusion
work, has x to the right and y ahead, and its origin at the LiDAR. Turning a map by 90 degrees would mirror its rows,
and a strided convolution on mirrored rows looks one cell beside: no weights would give the same. Exchanging the two
axes is exact for every layer. The network then takes our left for its right: it sees the mirror image of the world, in
which its boxes are true as well. Half of what these networks were trained on was mirrored, so that they know it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Point = tuple[float, float, float]
NUSCENES_LIDAR_M: Point = (0.94, 0.0, 1.84)
"""Where the LiDAR of nuScenes stands in the ego frame, m. That it leans by about a degree is left out."""
Axes = Literal["ego", "lidar_yx", "lidar_xy"]
"""`ego`: our frame and our maps. `lidar_yx`: the LiDAR's frame, maps (y, x), whose kernels are transposed. `lidar_xy`:
the LiDAR's frame, maps (x, y), whose kernels fit as they are."""
BoxOrder = Literal["lwh", "wlh"]
"""`lwh`: mmdetection3d from 1.0 on, yaw from x to y. `wlh`: before, and yaw clockwise from -y."""


@dataclass(frozen=True)
class SourceFrame:
    """Layout of one code base: of its maps, of its boxes, and where its origin lies in the ego frame (m)."""

    axes: Axes
    boxes: BoxOrder
    origin_m: Point

    @property
    def crossed(self) -> bool:
        """Whether its x is our y, and its y our x."""
        return self.axes != "ego"

    def kernel(self, weight: Tensor) -> Tensor:
        """A kernel (., ., kh, kw) over BEV maps."""
        return weight.transpose(2, 3) if self.axes == "lidar_yx" else weight

    def pair(self, values: Tensor) -> Tensor:
        """Values of x and y along the first axis: offsets, velocities."""
        return values[[1, 0]] if self.crossed else values

    def size(self, values: Tensor) -> Tensor:
        """Log sizes along the first axis to l, w, h."""
        return values[[1, 0, 2]] if self.boxes == "wlh" else values

    def yaw(self, values: Tensor) -> Tensor:
        """Sine and cosine along the first axis.

        A heading a from its x to its y is 90 degrees - a with both axes exchanged: sine and cosine change places. The
        older yaw is -a - 90 degrees, whose sine is -cos(a) and whose cosine is -sin(a).
        """
        if self.boxes == "wlh":
            return -values if self.crossed else -values[[1, 0]]
        return self.pair(values)

    def height(self, bias: Tensor) -> Tensor:
        """The bias of a branch that gives heights, m."""
        return bias + self.origin_m[2]


def rounded(value: float) -> float:
    """Metres without the last bits of a sum, as a variant file says them."""
    return round(value, 6)


def moved(range_m: tuple[float, float], by_m: float) -> list[float]:
    """A range in m, moved."""
    return [rounded(range_m[0] + by_m), rounded(range_m[1] + by_m)]
