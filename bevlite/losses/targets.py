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
CLASS_COUNT = 10


@dataclass(frozen=True)
class BoxTargets:
    """heatmap (B, 10, ny, nx); for each of the T boxes: batch (T,), class (T,), cell (T,), values (T, 10).

    The values are what the box maps should hold there: offset x, y (cells), z, log l, w, h, sin, cos, vx, vy, with
    NaN velocity where it is unknown.
    """

    heatmap: Tensor
    batch: Tensor
    classes: Tensor
    cell: Tensor
    values: Tensor


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
        The targets; boxes whose centre is outside the grid are left out.
    """
    x = (boxes[..., 0] - grid.x_range_m[0]) / grid.cell_m
    y = (boxes[..., 1] - grid.y_range_m[0]) / grid.cell_m
    inside = (labels >= 0) & (x >= 0) & (x < grid.nx) & (y >= 0) & (y < grid.ny)
    batch, slot = torch.nonzero(inside, as_tuple=True)
    box, label, x, y = boxes[batch, slot], labels[batch, slot], x[batch, slot], y[batch, slot]
    ix, iy = x.floor().long(), y.floor().long()
    values = torch.stack(
        [
            x - ix,
            y - iy,
            box[:, 2],
            *box[:, 3:6].clamp(min=1e-2).log().unbind(1),
            box[:, 6].sin(),
            box[:, 6].cos(),
            box[:, 7],
            box[:, 8],
        ],
        dim=1,
    )
    radius = gaussian_radius(box[:, 3] / grid.cell_m, box[:, 4] / grid.cell_m)
    radius = radius.floor().clamp(min=MIN_RADIUS)
    heatmap = _draw(batch * CLASS_COUNT + label, ix, iy, radius, boxes.shape[0] * CLASS_COUNT, grid)
    return BoxTargets(
        heatmap.view(boxes.shape[0], CLASS_COUNT, grid.ny, grid.nx), batch, label, iy * grid.nx + ix, values
    )


def _draw(plane: Tensor, ix: Tensor, iy: Tensor, radius: Tensor, planes: int, grid: BEVGrid) -> Tensor:
    """Maximum of Gaussians with sigma = (2 r + 1) / 6, cut off at the radius: (planes, ny * nx)."""
    heatmap = torch.zeros(planes * grid.ny * grid.nx, device=plane.device)
    if not len(plane):
        return heatmap
    reach = int(radius.max())
    offsets = torch.arange(-reach, reach + 1, device=plane.device)
    dy, dx = torch.meshgrid(offsets, offsets, indexing="ij")
    dx, dy = dx.reshape(1, -1), dy.reshape(1, -1)
    px, py = ix[:, None] + dx, iy[:, None] + dy
    sigma = (2 * radius + 1) / 6
    value = torch.exp(-(dx**2 + dy**2) / (2 * sigma[:, None] ** 2))
    inside = (dx.abs() <= radius[:, None]) & (dy.abs() <= radius[:, None])
    inside &= (px >= 0) & (px < grid.nx) & (py >= 0) & (py < grid.ny)
    target = (plane[:, None] * grid.ny + py) * grid.nx + px
    return heatmap.scatter_reduce(0, target[inside], value[inside], reduce="amax")
