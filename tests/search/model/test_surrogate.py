"""The surrogate: it finds what made its data, says what it does not know, and learns from lower rungs."""

from __future__ import annotations

import numpy as np
import pytest

from search.model.surrogate import Surrogate


def worth(rows: np.ndarray) -> np.ndarray:
    made: np.ndarray = 0.3 + 0.1 * rows[:, 0] + 0.05 * np.sin(3 * rows[:, 1])
    return made


def test_it_predicts_and_knows_its_noise() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(size=(60, 3))  # the third column says nothing
    model = Surrogate()
    model.fit(rows, np.ones(60), worth(rows) + rng.normal(0, 0.004, 60))
    fresh = rng.uniform(size=(200, 3))
    mean, deviation = model.predict(fresh)
    assert np.abs(mean - worth(fresh)).mean() < 0.004 < 0.04 < worth(fresh).std() * 2
    assert 0.002 < model.noise < 0.008
    inside = np.abs(mean - worth(fresh)) < 2.5 * deviation + 1e-6
    assert inside.mean() > 0.85


def test_far_from_all_it_says_so() -> None:
    rows = np.random.default_rng(0).uniform(0, 0.2, size=(30, 2))
    model = Surrogate()
    model.fit(rows, np.ones(30), worth(rows))
    _, deviation = model.predict(np.array([[0.1, 0.1], [1.0, 1.0]]))
    assert deviation[1] > 3 * deviation[0]


def test_lower_rungs_say_something_of_the_end() -> None:
    """Half of the networks were stopped at a quarter of their training: they order what was not trained to the end."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(size=(40, 2))
    short, full = worth(rows) - 0.08, worth(rows)
    ended = np.arange(40) < 8
    x, trained = np.concatenate([rows, rows[ended]]), np.concatenate([np.full(40, 0.25), np.ones(8)])
    model, alone = Surrogate(), Surrogate()
    model.fit(x, trained, np.concatenate([short, full[ended]]))
    alone.fit(rows[ended], np.ones(8), full[ended])
    fresh = rng.uniform(size=(100, 2))
    errors = [np.abs(one.predict(fresh)[0] - worth(fresh)).mean() for one in (model, alone)]
    assert errors[0] < 0.5 * errors[1]


def test_results_that_are_all_equal_are_no_fault() -> None:
    rows = np.random.default_rng(0).uniform(size=(5, 2))
    model = Surrogate()
    model.fit(rows, np.ones(5), np.full(5, 0.4))
    mean, deviation = model.predict(rows)
    assert mean == pytest.approx(np.full(5, 0.4)) and np.isfinite(deviation).all()
