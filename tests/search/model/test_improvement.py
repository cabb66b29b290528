"""What a network is expected to add: against draws, and against areas that are counted cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from search.model.improvement import expected_hypervolume, expected_improvement, hypervolume, staircase

FRONT = [(0.30, 10.0), (0.42, 20.0), (0.45, 35.0), (0.41, 30.0), (0.60, 80.0)]
BUDGET, REFERENCE = 50.0, 0.2


def counted(points: list[tuple[float, float]]) -> float:
    """The area that points dominate, by a million cells."""
    accuracy, latency = np.meshgrid(
        np.linspace(REFERENCE, 1, 1001)[:-1] + 0.0004, np.linspace(0, BUDGET, 1001)[:-1] + 0.025, indexing="ij"
    )
    inside = np.zeros(accuracy.shape, dtype=bool)
    for a, ms in points:
        inside |= (accuracy <= a) & (latency >= ms)
    return float(inside.mean() * (1 - REFERENCE) * BUDGET)


def test_the_area_is_that_of_its_cells() -> None:
    assert hypervolume(FRONT, BUDGET, REFERENCE) == pytest.approx(counted(FRONT), rel=2e-3)
    assert hypervolume([], BUDGET, REFERENCE) == 0
    assert hypervolume([(0.9, 60.0), (0.1, 5.0)], BUDGET, REFERENCE) == 0  # too slow, and below what counts


def test_a_step_is_the_best_so_far() -> None:
    starts, heights = staircase(FRONT, BUDGET, REFERENCE)
    assert starts.tolist() == [0, 10, 20, 35] and heights.tolist() == [0.2, 0.3, 0.42, 0.45]


def test_an_improvement_is_the_mean_of_draws() -> None:
    draws = np.random.default_rng(0).normal(size=400_000)
    for mean, deviation, best in ((0.4, 0.05, 0.42), (0.5, 0.1, 0.3), (0.1, 0.02, 0.2)):
        expected = np.maximum(0, mean + deviation * draws - best).mean()
        found = expected_improvement(np.array([mean]), np.array([deviation]), best)[0]
        assert found == pytest.approx(expected, rel=0.02, abs=1e-6)


def test_a_larger_area_is_the_mean_of_draws() -> None:
    """Drawing accuracies and counting areas needs no sum over steps, which a known latency makes of it."""
    rng = np.random.default_rng(1)
    for mean, deviation, ms in ((0.44, 0.04, 15.0), (0.5, 0.05, 30.0), (0.35, 0.03, 8.0), (0.5, 0.1, 60.0)):
        before = hypervolume(FRONT, BUDGET, REFERENCE)
        areas = [
            hypervolume([*FRONT, (accuracy, ms)], BUDGET, REFERENCE) - before
            for accuracy in rng.normal(mean, deviation, 4000)
        ]
        found = expected_hypervolume(np.array([mean]), np.array([deviation]), np.array([ms]), FRONT, BUDGET, REFERENCE)[
            0
        ]
        assert found == pytest.approx(np.mean(areas), rel=0.05, abs=1e-9)


def test_what_is_certain_adds_what_it_adds() -> None:
    found = expected_hypervolume(
        np.array([0.5, 0.3]), np.array([0.0, 0.0]), np.array([15.0, 15.0]), FRONT, BUDGET, REFERENCE
    )
    added = hypervolume([*FRONT, (0.5, 15.0)], BUDGET, REFERENCE) - hypervolume(FRONT, BUDGET, REFERENCE)
    assert found[0] == pytest.approx(added) and found[1] == pytest.approx(0, abs=1e-9)
