"""The grid of a lift-splat, as its first implementations keep it among their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from bevlite.errors import BevliteError
from bevlite.interop.forms.form import Settings, depth_settings
from bevlite.interop.frame import Point, moved, rounded

KEPT = ("dx", "bx", "nx", "frustum")
"""Cell sizes, centres of the first cells, counts (x, y, z), and u, v, depth (D, h, w, 3) of every frustum point."""


@dataclass(frozen=True)
class Lift:
    """In the source's frame, m and px: where the grid lies, its cells, its depth bins, and the size of the images."""

    x_range_m: tuple[float, float]
    y_range_m: tuple[float, float]
    z_range_m: tuple[float, float]
    cell_m: float
    depth_range_m: tuple[float, float]
    depth_step_m: float
    image_size: tuple[int, int]

    @property
    def depths(self) -> int:
        """How many depth bins there are."""
        return round((self.depth_range_m[1] - self.depth_range_m[0]) / self.depth_step_m)

    def settings(self, lidar_m: Point) -> Settings:
        """As keys of a variant in the ego frame, from the LiDAR's frame with x and y exchanged."""
        ahead, left, up = lidar_m
        return {
            "bev": {
                "x_range_m": moved(self.y_range_m, ahead),
                "y_range_m": moved(self.x_range_m, left),
                "cell_m": self.cell_m,
            },
            "camera": {
                "images": {"height": self.image_size[0], "width": self.image_size[1]},
                "view_transform": {
                    "z_range_m": moved(self.z_range_m, up),
                    **depth_settings(self.depth_range_m, self.depth_step_m),
                },
            },
        }


def lift_of(given: Mapping[str, Tensor], source: str, halved: bool) -> Lift:
    """Read it.

    Args:
        given: the checkpoint.
        source: name of the view transform.
        halved: the pooled map is brought to cells twice as large before it goes on.

    Raises:
        BevliteError: it is not there, or not a grid of square cells.
    """
    missing = [name for name in KEPT if f"{source}.{name}" not in given]
    if missing:
        raise BevliteError(f"the checkpoint has no {source}.{missing[0]}; accepted: a checkpoint of this form")
    size, centre, count, frustum = (given[f"{source}.{name}"].double() for name in KEPT)
    if size.shape != (3,) or centre.shape != (3,) or count.shape != (3,) or frustum.ndim != 4 or len(frustum) < 2:
        raise BevliteError(f"{source}: found no grid (dx {tuple(size.shape)}, frustum {tuple(frustum.shape)})")
    if abs(float(size[0] - size[1])) > 1e-6:
        raise BevliteError(f"{source}.dx: found cells of {size[0]:g} x {size[1]:g} m; accepted: square cells")
    low, high = centre - size / 2, centre + (count - 0.5) * size
    near, step = float(frustum[0, 0, 0, 2]), float(frustum[1, 0, 0, 2] - frustum[0, 0, 0, 2])
    # Float32 of a metre has seven digits: what a configuration said has fewer.
    x, y, z = ((round(float(a), 4), round(float(b), 4)) for a, b in zip(low, high, strict=True))
    image = round(float(frustum[0, -1, 0, 1])) + 1, round(float(frustum[0, 0, -1, 0])) + 1
    near, step = round(near, 4), round(step, 4)
    cell = round(float(size[0]), 4) * (2 if halved else 1)
    return Lift(x, y, z, rounded(cell), (near, rounded(near + step * len(frustum))), step, image)
