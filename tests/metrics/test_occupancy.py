from __future__ import annotations

import numpy as np
import pytest

from bevlite.data.classes import OCCUPANCY_CLASSES
from bevlite.metrics.occupancy import OccupancyConfusion, miou

SHAPE = (200, 200, 16)


def score(predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> dict:
    confusion = OccupancyConfusion()
    confusion.add(predicted, truth, np.ones(SHAPE, dtype=bool) if mask is None else mask)
    return confusion.summary()


def test_perfect_and_hopeless() -> None:
    truth = np.random.default_rng(0).integers(0, 18, SHAPE)
    perfect = score(truth, truth)
    assert perfect["occ_miou"] == 1 and set(perfect["occ_per_class"].values()) == {1.0}
    assert score((truth + 1) % 18, truth)["occ_miou"] == 0
    nothing = score(truth, truth, np.zeros(SHAPE, dtype=bool))
    assert nothing["occ_miou"] == 0 and set(nothing["occ_per_class"].values()) == {None}


def test_closed_form() -> None:
    truth = np.full(SHAPE, 17)
    truth[:100] = 4
    predicted = np.full(SHAPE, 17)
    predicted[50:150] = 4  # half of the truth found, as much beside it: IoU 1/3
    result = score(predicted, truth)
    assert result["occ_per_class"]["car"] == pytest.approx(1 / 3)
    assert result["occ_per_class"]["free"] == pytest.approx(1 / 3) and result["occ_per_class"]["bus"] is None
    assert result["occ_miou"] == pytest.approx(1 / 3)  # over car alone: free is no part of it
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:100] = True
    assert score(predicted, truth, mask)["occ_miou"] == pytest.approx(1 / 2)


def test_predicted_class_that_is_nowhere_counts_as_zero() -> None:
    truth, predicted = np.full(SHAPE, 4), np.full(SHAPE, 4)
    predicted[:, :100] = 3
    assert score(predicted, truth)["occ_miou"] == pytest.approx((0.5 + 0) / 2)


def test_against_sets_of_voxels() -> None:
    rng = np.random.default_rng(1)
    truth, mask = rng.integers(0, 18, SHAPE), rng.random(SHAPE) < 0.3
    predicted = np.where(rng.random(SHAPE) < 0.6, truth, rng.integers(0, 18, SHAPE))
    truth[rng.random(SHAPE) < 0.1] = 255  # unlabelled
    use = mask & (truth < 18)
    expected = []
    for c in range(18):
        a, b = (truth == c) & use, (predicted == c) & use
        expected.append((a & b).sum() / (a | b).sum())
    result = score(predicted, truth, mask)
    np.testing.assert_allclose(list(result["occ_per_class"].values()), expected)
    assert result["occ_miou"] == pytest.approx(np.mean(expected[:17]))
    assert tuple(result["occ_per_class"]) == OCCUPANCY_CLASSES


def test_samples_add_up() -> None:
    rng = np.random.default_rng(2)
    pairs = [(rng.integers(0, 18, SHAPE), rng.integers(0, 18, SHAPE)) for _ in range(2)]
    both = OccupancyConfusion()
    parts = []
    for predicted, truth in pairs:
        both.add(predicted, truth, np.ones(SHAPE, dtype=bool))
        one = OccupancyConfusion()
        one.add(predicted, truth, np.ones(SHAPE, dtype=bool))
        parts.append(one.matrix)
    assert np.array_equal(both.matrix, sum(parts)) and both.matrix.sum() == 2 * 200 * 200 * 16
    assert miou(both.matrix) == both.summary()
