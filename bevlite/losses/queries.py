"""How queries are taught: each box is matched to one query, which learns its class and its values (TransFusion)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from bevlite.grid import BEVGrid
from bevlite.losses.overlap import box_iou
from bevlite.losses.targets import BoxTargets
from bevlite.losses.terms import focal_loss

ALPHA, GAMMA = 0.25, 2.0
"""Of the focal loss of classes, and of its cost."""
CLASS_COST, CENTRE_COST, OVERLAP_COST = 0.15, 0.25, 0.25
"""Of a pair: focal, L1 of the centres in shares of the grid, and less for what the boxes have in common."""
LARGEST_LOG_SIZE = 5.0
HOPELESS = 1e6
"""Cost of what is not a number, so that a diverged network is reported by its loss and not by the matching."""


@dataclass(frozen=True)
class Queries:
    """What K queries say after each of L layers.

    cell: (B, 2, K) column and row that each began in. logits: (B, L, 10, K). values: (B, L, 10, K) offset x, y from
    the cell (cells), z, log l, w, h, sin, cos, vx, vy.
    """

    cell: Tensor
    logits: Tensor
    values: Tensor


@dataclass(frozen=True)
class Matches:
    """M pairs: batch, layer and query (M,), and which of the targets each is matched to (M,)."""

    batch: Tensor
    layer: Tensor
    query: Tensor
    target: Tensor


def query_losses(queries: Queries, targets: BoxTargets, grid: BEVGrid, velocity_weight: float) -> tuple[Tensor, Tensor]:
    """Losses of classes and of box values, each over the number of matches in all layers.

    Every query has a class loss: one without a box learns to be none. Unknown (NaN) velocities count nothing.
    """
    found = match(queries, targets, grid)
    count = max(1, len(found.batch))
    wanted = torch.zeros_like(queries.logits)
    wanted[found.batch, found.layer, targets.classes[found.target], found.query] = 1
    classes = focal_loss(queries.logits, wanted, GAMMA, ALPHA).sum() / count
    predicted = queries.values[found.batch, found.layer, :, found.query]
    goal = targets.values[found.target].clone()
    goal[:, :2] += _cells_of(targets, grid)[found.target] - queries.cell[found.batch, :, found.query]
    known = torch.isfinite(goal)
    difference = (predicted - torch.where(known, goal, predicted.detach())).abs()
    weights = difference.new_ones(difference.shape[1])
    weights[8:] = velocity_weight
    return classes, (difference * weights).sum() / count


@torch.no_grad()
def match(queries: Queries, targets: BoxTargets, grid: BEVGrid) -> Matches:
    """Give every box a query of its own such that the costs are least in all, layer by layer (Hungarian method).

    The costs of all samples are made in one go and fetched once; the assignment runs on the CPU (200 x 40: 0.1 ms).
    """
    size, layers = queries.logits.shape[:2]
    counts = torch.bincount(targets.batch, minlength=size).tolist()
    costs = pair_costs(queries, targets, grid)
    rows: list[tuple[int, int, int, int]] = []
    start = 0
    for sample, count in enumerate(counts):
        for layer in range(layers):
            pairs = linear_sum_assignment(costs[start : start + count, layer].numpy()) if count else ((), ())
            rows += [(sample, layer, int(q), start + int(t)) for t, q in zip(*pairs, strict=True)]
        start += count
    table = torch.tensor(rows, dtype=torch.int64, device=targets.batch.device).view(-1, 4)
    return Matches(*table.unbind(1))


def pair_costs(queries: Queries, targets: BoxTargets, grid: BEVGrid) -> Tensor:
    """Cost (T, L, K) of each target with each query of its own sample, on the CPU."""
    batch, classes = targets.batch, targets.classes
    logits = queries.logits[batch, :, classes].double()  # (T, L, K)
    probability = logits.sigmoid()
    positive = -functional.logsigmoid(logits) * ALPHA * (1 - probability) ** GAMMA
    negative = -functional.logsigmoid(-logits) * (1 - ALPHA) * probability**GAMMA
    found = _boxes(queries.values.double().movedim(2, -1), queries.cell.double().transpose(1, 2)[:, None], grid)[batch]
    wanted = _boxes(targets.values.double(), _cells_of(targets, grid).double(), grid)[:, None, None]
    reach = found.new_tensor([grid.nx * grid.cell_m, grid.ny * grid.cell_m])
    apart = ((found[..., :2] - wanted[..., :2]).abs() / reach).sum(dim=-1)
    cost = CLASS_COST * (positive - negative) + CENTRE_COST * apart - OVERLAP_COST * box_iou(found, wanted)
    return cost.nan_to_num(HOPELESS, HOPELESS, HOPELESS).cpu()


def _boxes(values: Tensor, cell: Tensor, grid: BEVGrid) -> Tensor:
    """(..., 10) values from cells (..., 2) to (..., 7) x, y (from the corner of the grid), z, l, w, h, yaw; m, rad."""
    centre = (cell + values[..., :2]) * grid.cell_m
    size = values[..., 3:6].clamp(-LARGEST_LOG_SIZE, LARGEST_LOG_SIZE).exp()
    yaw = torch.atan2(values[..., 6:7], values[..., 7:8])
    return torch.cat([centre, values[..., 2:3], size, yaw], dim=-1)


def _cells_of(targets: BoxTargets, grid: BEVGrid) -> Tensor:
    """(T, 2) column and row of the cell of each target."""
    row = torch.div(targets.cell, grid.nx, rounding_mode="floor")
    return torch.stack([targets.cell - row * grid.nx, row], dim=1).to(targets.values.dtype)
