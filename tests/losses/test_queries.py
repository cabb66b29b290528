"""Overlap of boxes, and how queries are matched and taught."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from shapely.geometry import Polygon
from torch import Tensor

from bevlite.grid import BEVGrid
from bevlite.losses.overlap import box_iou, overlap_seen_from_above
from bevlite.losses.queries import Queries, match, pair_costs, query_losses
from bevlite.losses.targets import BoxTargets, box_targets

GRID = BEVGrid(x_range_m=(-16.0, 16.0), y_range_m=(-12.0, 12.0), cell_m=0.5)


def polygon(x: float, y: float, length: float, width: float, yaw: float) -> Polygon:
    cos, sin = math.cos(yaw), math.sin(yaw)
    corners = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    return Polygon([(x + a * cos - b * sin, y + a * sin + b * cos)
                    for a, b in ((i * length / 2, j * width / 2) for i, j in corners)])  # fmt: skip


@pytest.mark.parametrize("yaws", ["any", "square"])
def test_overlap_against_shapely(yaws: str) -> None:
    rng = np.random.default_rng(0)
    count = 400
    boxes = np.concatenate([rng.uniform(-3, 3, (2, count, 2)), rng.uniform(0.3, 8, (2, count, 2)),
                            rng.uniform(-4, 4, (2, count, 1))], axis=2)  # fmt: skip
    if yaws == "square":  # edges along each other
        boxes[..., 4] = rng.integers(-4, 5, (2, count)) * math.pi / 2
    areas = overlap_seen_from_above(*torch.from_numpy(boxes))
    wanted = [polygon(*a).intersection(polygon(*b)).area for a, b in zip(*boxes, strict=True)]
    assert sum(area > 0 for area in wanted) > count / 3
    np.testing.assert_allclose(areas, wanted, atol=1e-6)


def test_what_coincides_is_counted_once() -> None:
    yaw = torch.linspace(-math.pi, math.pi, 41, dtype=torch.float64)
    box = torch.stack([yaw, -yaw, yaw.cos() + 2, yaw.sin() + 2, yaw], dim=1)
    area = box[:, 2] * box[:, 3]
    torch.testing.assert_close(overlap_seen_from_above(box, box), area)
    turned = box + box.new_tensor([0, 0, 0, 0, math.pi])
    torch.testing.assert_close(overlap_seen_from_above(box, turned), area)
    inside, beside = box.clone(), box.clone()
    inside[:, 2:4] /= 2
    beside[:, :2] += torch.stack([yaw.cos(), yaw.sin()], dim=1) * box[:, 2:3]  # one edge in common
    torch.testing.assert_close(overlap_seen_from_above(inside, box), area / 4)
    torch.testing.assert_close(overlap_seen_from_above(box, beside), torch.zeros_like(area), atol=1e-6, rtol=0)


def test_boxes_stand_upright() -> None:
    box = torch.tensor([1.0, 2.0, 0.5, 4.0, 2.0, 2.0, 0.3], dtype=torch.float64)
    raised, above = box.clone(), box.clone()
    raised[2] += 1  # half of the height in common
    above[2] += 2.5
    found = box_iou(box, torch.stack([box, raised, above]))
    torch.testing.assert_close(found, found.new_tensor([1.0, 1 / 3, 0.0]))


def scene(counts: tuple[int, ...], seed: int = 0) -> tuple[BoxTargets, Queries]:
    """Boxes of each sample, and six queries of two layers that know nothing of them."""
    rng = np.random.default_rng(seed)
    size, most = len(counts), max(counts)
    values = np.concatenate(
        [rng.uniform(-15, 15, (size, most, 1)), rng.uniform(-11, 11, (size, most, 1)),
         rng.uniform(-1, 1, (size, most, 1)), rng.uniform(1, 9, (size, most, 3)), rng.uniform(-3, 3, (size, most, 3))],
        axis=2)  # fmt: skip
    labels = rng.integers(0, 10, (size, most))
    for sample, count in enumerate(counts):
        labels[sample, count:] = -1
    targets = box_targets(torch.tensor(values, dtype=torch.float32), torch.from_numpy(labels), GRID).compact()
    generator = torch.Generator().manual_seed(seed)
    cell = torch.stack([torch.randint(64, (size, 6), generator=generator),
                        torch.randint(48, (size, 6), generator=generator)], dim=1).float()  # fmt: skip
    drawn = [torch.randn(size, 2, 10, 6, generator=generator) for _ in range(2)]
    return targets, Queries(cell, *drawn)


def test_matching_is_the_cheapest_of_all() -> None:
    targets, queries = scene((4, 0, 3))
    costs = pair_costs(queries, targets, GRID)
    found = match(queries, targets, GRID)
    assert torch.equal(found.batch, targets.batch[found.target])
    for sample, layer in itertools.product(range(3), range(2)):
        rows = (targets.batch == sample).nonzero().flatten().tolist()
        every = [sum(float(costs[t, layer, q]) for t, q in zip(rows, choice, strict=True))
                 for choice in itertools.permutations(range(6), len(rows))]  # fmt: skip
        here = (found.batch == sample) & (found.layer == layer)
        assert sorted(found.target[here].tolist()) == rows  # each box once
        assert len(set(found.query[here].tolist())) == len(rows)
        chosen = costs[found.target[here], layer, found.query[here]]
        assert float(chosen.sum()) == pytest.approx(min(every, default=0.0))
        assert not rows or max(every) > min(every) + 0.1


def test_costs_against_a_loop() -> None:
    targets, queries = scene((3, 2))
    costs = pair_costs(queries, targets, GRID)
    for t, (sample, label, cell) in enumerate(
        zip(targets.batch.tolist(), targets.classes.tolist(), targets.cell.tolist(), strict=True)
    ):
        v = targets.values[t].double().numpy()
        centre = np.array([cell % 64 + v[0], cell // 64 + v[1]]) * 0.5
        for layer, q in itertools.product(range(2), range(6)):
            w = queries.values[sample, layer, :, q].double().numpy()
            place = (queries.cell[sample, :, q].double().numpy() + w[:2]) * 0.5
            p = 1 / (1 + math.exp(-float(queries.logits[sample, layer, label, q])))
            focal = -math.log(p) * 0.25 * (1 - p) ** 2 + math.log(1 - p) * 0.75 * p**2
            apart = abs(centre - place) / (32, 24)
            boxes = [polygon(*c, *np.exp(u[3:5]), math.atan2(u[6], u[7])) for c, u in ((centre, v), (place, w))]
            low = max(u[2] - math.exp(u[5]) / 2 for u in (v, w))
            high = min(u[2] + math.exp(u[5]) / 2 for u in (v, w))
            common = boxes[0].intersection(boxes[1]).area * max(0.0, high - low)
            union = sum(math.exp(u[3] + u[4] + u[5]) for u in (v, w)) - common
            wanted = 0.15 * focal + 0.25 * apart.sum() - 0.25 * common / union
            assert float(costs[t, layer, q]) == pytest.approx(wanted, abs=1e-6)


def perfect(targets: BoxTargets, queries: Queries) -> Queries:
    """The first queries of each sample say what is there, from cells beside it."""
    values, logits = queries.values.clone(), torch.full_like(queries.logits, -20.0)
    for sample in range(len(values)):
        for q, t in enumerate((targets.batch == sample).nonzero().flatten().tolist()):
            at = torch.tensor([int(targets.cell[t]) % 64, int(targets.cell[t]) // 64])
            values[sample, :, :, q] = targets.values[t]
            values[sample, :, :2, q] += at - queries.cell[sample, :, q]
            logits[sample, :, targets.classes[t], q] = 20.0
    return Queries(queries.cell, logits, values)


def test_who_says_what_is_there_has_no_loss() -> None:
    targets, queries = scene((4, 0, 3))
    classes, box = query_losses(perfect(targets, queries), targets, GRID, 0.2)
    assert float(classes) < 1e-6 and float(box) < 1e-4
    for loss in query_losses(queries, targets, GRID, 0.2):
        assert float(loss) > 0.1


def test_velocity_and_what_is_unknown() -> None:
    targets, queries = scene((4,))
    right = perfect(targets, queries)
    right.values[:, :, 8] += 2.0
    assert float(query_losses(right, targets, GRID, 0.2)[1]) == pytest.approx(0.4, abs=1e-4)
    targets.values[:, 8] = math.nan
    assert float(query_losses(right, targets, GRID, 0.2)[1]) == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("counts", [(0, 0), (5, 1)])
def test_every_query_is_taught(counts: tuple[int, ...]) -> None:
    targets, queries = scene(counts) if sum(counts) else nothing()
    queries.logits.requires_grad_()
    queries.values.requires_grad_()
    classes, box = query_losses(queries, targets, GRID, 0.2)
    (classes + box).backward()
    assert queries.logits.grad is not None and queries.values.grad is not None
    assert bool((queries.logits.grad != 0).all())
    assert int(queries.values.grad.abs().sum(dim=2).bool().sum()) == 2 * sum(counts)  # in each layer


def nothing() -> tuple[BoxTargets, Queries]:
    _, queries = scene((1, 1))
    return box_targets(torch.zeros(2, 3, 9), torch.full((2, 3), -1), GRID).compact(), queries


def test_what_is_no_number_is_left_to_the_loss() -> None:
    targets, queries = scene((3,))
    broken = Queries(queries.cell, queries.logits * math.nan, queries.values)
    losses: tuple[Tensor, Tensor] = query_losses(broken, targets, GRID, 0.2)
    assert not math.isfinite(float(losses[0]))
