"""CenterPoint targets: Gaussian peaks on the heat map, and the box values at their centres.

Radius and drawing after CornerNet and CenterPoint (Yin et al., CVPR 2021), with the quadratic roots as
mmdetection3d writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bevlite.grid import BEVGrid

MIN_OVERLAP = 0.1
MIN_RADIUS = 2
LARGEST_M = (40.0, 6.0)
"""Length and width of a box beyond which its peak grows no wider."""
CLASS_COUNT = 10


@dataclass(frozen=True)
class BoxTargets:
    """heatmap (B, 10, ny, nx); for each of T boxes: batch (T,), class (T,), cell (T,), values (T, 10), there (T,) bool.

    The values are what the box maps should hold there: offset x, y (cells), z, log l, w, h, sin, cos, vx, vy, with
    NaN velocity where it is unknown. One that is not `there` is padding, or lies outside the grid, and counts nothing:
    leaving it out would make the CPU wait for the GPU.
    """

    heatmap: Tensor
    batch: Tensor
    classes: Tensor
    cell: Tensor
    values: Tensor
    there: Tensor

    def compact(self) -> BoxTargets:
        """Without the boxes that count nothing. Waits for the GPU."""
        of_box = (self.batch, self.classes, self.cell, self.values, self.there)
        return BoxTargets(self.heatmap, *(one[self.there] for one in of_box))


def gaussian_radius(length: Tensor, width: Tensor, min_overlap: float = MIN_OVERLAP) -> Tensor:
    """Radius in cells within which a shifted box of this size (cells) still overlaps by `min_overlap`."""
    total = length + width
    c1 = width * length * (1 - min_overlap) / (1 + min_overlap)
    r1 = (total + (total**2 - 4 * c1).sqrt()) / 2
    c2 = (1 - min_overlap) * width * length
    r2 = (2 * total + (4 * total**2 - 16 * c2).sqrt()) / 2
    a3, b3, c3 = 4 * min_overlap, -2 * min_overlap * total, (min_overlap - 1) * width * length
    r3 = (b3 + (b3**2 - 4 * a3 * c3).sqrt()) / 2
    return torch.minimum(torch.minimum(r1, r2), r3)


def box_targets(boxes: Tensor, labels: Tensor, grid: BEVGrid) -> BoxTargets:
    """Targets of a batch.

    Args:
        boxes: (B, K, 9) x, y, z, l, w, h, yaw, vx, vy in the BEV frame.
        labels: (B, K) class, -1 for padding.
        grid: the BEV grid of the head.

    Returns:
        The targets, one for every row of `boxes`; rows of padding, or whose centre is outside the grid, are not there.
    """
    size, slots = labels.shape
    boxes, labels = boxes.flatten(0, 1), labels.flatten()
    x = (boxes[..., 0] - grid.x_range_m[0]) / grid.cell_m
    y = (boxes[..., 1] - grid.y_range_m[0]) / grid.cell_m
    there = (labels >= 0) & (x >= 0) & (x < grid.nx) & (y >= 0) & (y < grid.ny)
    batch = torch.arange(size, device=boxes.device).repeat_interleave(slots)
    label, x, y = labels.clamp(min=0), torch.where(there, x, 0.5), torch.where(there, y, 0.5)
    ix, iy = x.floor().long(), y.floor().long()
    values = torch.stack(
        [
            x - ix,
            y - iy,
            boxes[:, 2],
            *boxes[:, 3:6].clamp(min=1e-2).log().unbind(1),
            boxes[:, 6].sin(),
            boxes[:, 6].cos(),
            boxes[:, 7],
            boxes[:, 8],
        ],
        dim=1,
    )
    reach = _largest_radius(grid)
    radius = gaussian_radius(boxes[:, 3] / grid.cell_m, boxes[:, 4] / grid.cell_m)
    radius = radius.floor().clamp(min=MIN_RADIUS, max=reach)
    plane = torch.where(there, batch * CLASS_COUNT + label, size * CLASS_COUNT)  # the last one takes what is not there
    heatmap = _draw(plane, ix, iy, radius, reach, size * CLASS_COUNT, grid)
    heatmap = heatmap.view(size, CLASS_COUNT, grid.ny, grid.nx)
    return BoxTargets(heatmap, batch, label, iy * grid.nx + ix, values, there)


def _largest_radius(grid: BEVGrid) -> int:
    """Of a box of `LARGEST_M`, in cells: known without asking the GPU."""
    length, width = (torch.tensor(side / grid.cell_m) for side in LARGEST_M)
    return max(MIN_RADIUS, int(gaussian_radius(length, width)))


def _draw(plane: Tensor, ix: Tensor, iy: Tensor, radius: Tensor, reach: int, planes: int, grid: BEVGrid) -> Tensor:
    """Maximum of Gaussians with sigma = (2 r + 1) / 6, cut off at the radius: (planes, ny * nx); others are dropped."""
    count = grid.ny * grid.nx
    heatmap = torch.zeros((planes + 1) * count, device=plane.device)
    offsets = torch.arange(-reach, reach + 1, device=plane.device)
    dy, dx = torch.meshgrid(offsets, offsets, indexing="ij")
    dx, dy = dx.reshape(1, -1), dy.reshape(1, -1)
    px, py = ix[:, None] + dx, iy[:, None] + dy
    sigma = (2 * radius + 1) / 6
    value = torch.exp(-(dx**2 + dy**2) / (2 * sigma[:, None] ** 2))
    inside = (dx.abs() <= radius[:, None]) & (dy.abs() <= radius[:, None])
    inside &= (px >= 0) & (px < grid.nx) & (py >= 0) & (py < grid.ny)
    target = (plane[:, None] * grid.ny + py) * grid.nx + px
    target = torch.where(inside, target, planes * count)
    drawn = heatmap.scatter_reduce(0, target.flatten(), value.flatten(), reduce="amax")
    return drawn[: planes * count]
