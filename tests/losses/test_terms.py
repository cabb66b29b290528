from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bevlite.grid import BEVGrid
from bevlite.losses.targets import box_targets, gaussian_radius
from bevlite.losses.terms import box_loss, depth_loss, gaussian_focal_loss, masked_cross_entropy
from bevlite.tasks.detection import GROUPS

SIX = GROUPS["six"].channels
GRID = BEVGrid(x_range_m=(-16.0, 16.0), y_range_m=(-12.0, 12.0), cell_m=0.5)


def boxes(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    values = np.concatenate(
        [rng.uniform(-17, 17, (count, 2)), rng.uniform(-1, 1, (count, 1)), rng.uniform(0.3, 12, (count, 3)),
         rng.uniform(-3, 3, (count, 1)), rng.normal(0, 3, (count, 2))], axis=1)  # fmt: skip
    return torch.tensor(values, dtype=torch.float32)[None], torch.from_numpy(rng.integers(0, 10, count))[None]


def roots(length: float, width: float, overlap: float) -> float:
    """The smallest of the three roots as CornerNet's code and mmdetection3d write them: (b + sqrt(b2 - 4ac)) / 2."""
    found = []
    for a, b, c in (
        (1, length + width, width * length * (1 - overlap) / (1 + overlap)),
        (4, 2 * (length + width), (1 - overlap) * width * length),
        (4 * overlap, -2 * overlap * (length + width), (overlap - 1) * width * length),
    ):
        found.append((b + math.sqrt(b * b - 4 * a * c)) / 2)
    return min(found)


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.7])
def test_radius_is_the_published_one(overlap: float) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.3, 30, (50, 2))
    ours = gaussian_radius(*torch.from_numpy(sizes.T), overlap)
    np.testing.assert_allclose(ours, [roots(a, b, overlap) for a, b in sizes], rtol=1e-12)


def test_box_shifted_by_the_radius_still_overlaps() -> None:
    # Holds up to an aspect of three; CornerNet's code takes a larger root for longer boxes.
    for length, width in ((4.0, 4.0), (9.0, 4.0), (6.0, 2.0), (1.0, 1.0)):
        r = float(gaussian_radius(torch.tensor(length), torch.tensor(width)))
        common = (length - r) * (width - r)
        assert r < width and common / (2 * length * width - common) >= 0.1
        assert length * width / ((length + 2 * r) * (width + 2 * r)) >= 0.1  # grown by the radius on every side


def test_heatmap_against_a_loop() -> None:
    given, labels = boxes(25)
    labels[0, 3] = -1
    targets = box_targets(given.repeat(2, 1, 1), torch.stack([labels[0], labels[0].flip(0)]), GRID).compact()
    expected = np.zeros((10, GRID.ny, GRID.nx))
    kept = []
    for box, label in zip(given[0].double().numpy(), labels[0].tolist(), strict=True):
        ix, iy = math.floor((box[0] + 16) / 0.5), math.floor((box[1] + 12) / 0.5)
        if label < 0 or not (0 <= ix < GRID.nx and 0 <= iy < GRID.ny):
            continue
        kept.append((label, iy * GRID.nx + ix))
        radius = max(2, int(roots(box[3] / 0.5, box[4] / 0.5, 0.1)))
        sigma = (2 * radius + 1) / 6
        for y in range(max(0, iy - radius), min(GRID.ny, iy + radius + 1)):
            for x in range(max(0, ix - radius), min(GRID.nx, ix + radius + 1)):
                value = math.exp(-((x - ix) ** 2 + (y - iy) ** 2) / (2 * sigma**2))
                expected[label, y, x] = max(expected[label, y, x], value)
    assert 8 < len(kept) < 25
    np.testing.assert_allclose(targets.heatmap[0], expected, atol=1e-6)
    first = targets.batch == 0
    assert list(zip(targets.classes[first].tolist(), targets.cell[first].tolist(), strict=True)) == kept
    assert int((targets.heatmap[0] == 1).sum()) == len(set(kept))


def test_no_boxes_no_targets() -> None:
    targets = box_targets(torch.zeros(2, 3, 9), torch.full((2, 3), -1), GRID)
    assert not targets.heatmap.any() and targets.heatmap.shape == (2, 10, GRID.ny, GRID.nx)
    assert not targets.there.any() and not len(targets.compact().cell)
    maps = torch.randn(2, 60, GRID.ny, GRID.nx, requires_grad=True)
    assert float(box_loss(maps, targets, SIX, 0.2).detach()) == 0
    loss = gaussian_focal_loss(torch.zeros(2, 10, 4, 4), torch.zeros(2, 10, 4, 4))
    assert float(loss) == pytest.approx(320 * 0.25 * math.log(2), rel=1e-5)


def test_focal_loss_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    logits, target = rng.normal(0, 3, (2, 10, 8, 9)), rng.random((2, 10, 8, 9)) ** 3
    target.flat[rng.permutation(target.size)[:12]] = 1
    p = 1 / (1 + np.exp(-logits))
    peak = target == 1
    total = np.where(peak, np.log(p) * (1 - p) ** 2, np.log(1 - p) * p**2 * (1 - target) ** 4).sum()
    ours = gaussian_focal_loss(torch.from_numpy(logits), torch.from_numpy(target.astype(np.float32)))
    assert float(ours) == pytest.approx(-total / 12, rel=1e-5)
    extreme = gaussian_focal_loss(torch.full((1, 1, 2, 2), 200.0), torch.zeros(1, 1, 2, 2))
    assert float(extreme) == pytest.approx(800, rel=1e-5)  # no infinity where the sigmoid saturates


def test_box_loss_by_hand() -> None:
    given = torch.zeros(1, 3, 9)
    given[0, :, 0] = torch.tensor([0.0, 5.0, 10.0])
    given[0, :, 3:6] = 1.0
    given[0, :, 7:] = torch.tensor([[1.0, 2.0], [math.nan, math.nan], [3.0, math.nan]])
    targets = box_targets(given, torch.tensor([[0, 0, 8]]), GRID)
    maps = torch.zeros(1, 60, GRID.ny, GRID.nx, requires_grad=True)
    loss = box_loss(maps, targets, SIX, 0.2)
    # Centres lie on corners of cells (offset 0), sizes of 1 m (log 0), yaw 0: cos 1. Two cars and one pedestrian.
    by_hand = ((1 + 0.2 * 3) + 1) / 2 + (1 + 0.2 * 3)
    assert float(loss.detach()) == pytest.approx(by_hand, rel=1e-3)
    loss.backward()
    assert maps.grad is not None and torch.isfinite(maps.grad).all()
    velocity_of_second = maps.grad[0, 8:10].flatten(1)[:, targets.cell[1]]
    assert not velocity_of_second.any()  # unknown: nothing to learn


def test_boxes_that_are_not_there_count_nothing() -> None:
    given, labels = boxes(25)
    labels[0, 3:6] = -1
    targets = box_targets(given, labels, GRID)
    maps = torch.randn(1, 60, GRID.ny, GRID.nx, requires_grad=True)
    (whole,) = torch.autograd.grad(box_loss(maps, targets, SIX, 0.2), maps)
    (compact,) = torch.autograd.grad(box_loss(maps, targets.compact(), SIX, 0.2), maps)
    assert 8 < int(targets.there.sum()) < 22
    torch.testing.assert_close(whole, compact)


def occupancy_loss(logits: Tensor, semantics: Tensor, mask: Tensor) -> Tensor:
    """Labels are indexed [x, y, z], maps [z, y, x]."""
    return masked_cross_entropy(logits, semantics.permute(0, 3, 2, 1), mask.permute(0, 3, 2, 1))


def test_occupancy_loss_closed_form() -> None:
    rng = np.random.default_rng(0)
    semantics = torch.from_numpy(rng.integers(0, 18, (2, 6, 5, 4)))
    mask = torch.from_numpy(rng.random((2, 6, 5, 4)) < 0.5)
    flat = torch.zeros(2, 18, 4, 5, 6)
    assert float(occupancy_loss(flat, semantics, mask)) == pytest.approx(math.log(18), rel=1e-6)
    logits = rng.normal(size=(2, 18, 4, 5, 6))
    total = 0.0
    for b, x, y, z in np.argwhere(mask.numpy()):
        column = logits[b, :, z, y, x]
        total -= column[semantics[b, x, y, z]] - np.log(np.exp(column).sum())
    ours = occupancy_loss(torch.from_numpy(logits), semantics, mask)
    assert float(ours) == pytest.approx(total / int(mask.sum()), rel=1e-5)
    assert float(occupancy_loss(flat, semantics, torch.zeros_like(mask))) == 0


def test_depth_loss_closed_form() -> None:
    depths = (2.0, 4.0, 6.0)  # bins 1..3, 3..5, 5..7
    depth = torch.tensor([[[[0.0, 0.9, 1.1], [2.9, 3.1, 7.1]]]])
    logits = torch.randn(1, 3, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log = logits.log_softmax(dim=1)
    expected = -(log[0, 0, 0, 2] + log[0, 0, 1, 0] + log[0, 1, 1, 1]) / 3
    assert float(depth_loss(logits, depth, depths)) == pytest.approx(float(expected), rel=1e-5)
    assert float(depth_loss(logits, torch.zeros_like(depth), depths)) == 0
