"""How much boxes have in common: exact areas and volumes, for whole tables of pairs at once.

The area of a turned rectangle inside another one is taken by Green's theorem: in the frame of the other, the integral
over x and y of "lies in it" is the integral of clamp(x) dy along those parts of the first one's border whose y lies
in it. That is a sum over four edges, without cutting polygons, and where edges coincide nothing is counted twice: a box
has exactly its own area in common with itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

CORNERS = ((0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5), (0.5, -0.5))
"""Counter-clockwise, in lengths and widths."""


def overlap_seen_from_above(first: Tensor, second: Tensor) -> Tensor:
    """Area that rectangles have in common, in m2.

    Args:
        first, second: (..., 5) x, y, length, width in m and yaw in rad; leading axes are broadcast. float64 resolves a
            millionth of the area.

    Returns:
        (...) areas.
    """
    turn = first[..., 4] - second[..., 4]
    dx, dy = first[..., 0] - second[..., 0], first[..., 1] - second[..., 1]
    cos, sin = second[..., 4].cos(), second[..., 4].sin()
    x, y = dx * cos + dy * sin, dy * cos - dx * sin
    corners = first.new_tensor(CORNERS)
    along = corners[:, 0] * first[..., 2, None]
    across = corners[:, 1] * first[..., 3, None]
    cos, sin = turn.cos()[..., None], turn.sin()[..., None]
    px, py = x[..., None] + along * cos - across * sin, y[..., None] + along * sin + across * cos
    qx, qy = px.roll(-1, dims=-1), py.roll(-1, dims=-1)
    half_length, half_width = second[..., 2, None] / 2, second[..., 3, None] / 2
    # The part of each edge whose y lies in the second rectangle.
    low, high = py.clamp(-half_width, half_width), qy.clamp(-half_width, half_width)
    rise = qy - py
    level = rise.abs() < 1e-9
    steep = torch.where(level, torch.ones_like(rise), rise)
    ax, bx = px + (qx - px) * (low - py) / steep, px + (qx - px) * (high - py) / steep
    area = torch.where(level, torch.zeros_like(rise), (high - low) * _mean_clamped(ax, bx, half_length))
    return area.sum(dim=-1).clamp(min=0)


def _mean_clamped(a: Tensor, b: Tensor, limit: Tensor) -> Tensor:
    """Mean of clamp(x, -limit, limit) while x goes evenly from a to b."""
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    inner_low, inner_high = low.clamp(-limit, limit), high.clamp(-limit, limit)
    below, above = (inner_low - low).clamp(min=0), (high - inner_high).clamp(min=0)
    below, above = torch.minimum(below, high - low), torch.minimum(above, high - low)
    inside = inner_high - inner_low
    total = inside * (inner_low + inner_high) / 2 + limit * (above - below)
    span = high - low
    still = span < 1e-9
    return torch.where(still, inner_low, total / torch.where(still, torch.ones_like(span), span))


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes that stand upright.

    Args:
        first, second: (..., 7) x, y, z (centre), l, w, h, yaw in m and rad; leading axes are broadcast.

    Returns:
        (...) in 0..1.
    """
    above = [0, 1, 3, 4, 6]
    area = overlap_seen_from_above(first[..., above], second[..., above])
    top = torch.minimum(first[..., 2] + first[..., 5] / 2, second[..., 2] + second[..., 5] / 2)
    bottom = torch.maximum(first[..., 2] - first[..., 5] / 2, second[..., 2] - second[..., 5] / 2)
    common = area * (top - bottom).clamp(min=0)
    union = first[..., 3:6].prod(dim=-1) + second[..., 3:6].prod(dim=-1) - common
    return common / union.clamp(min=1e-9)
