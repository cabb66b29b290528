"""What a rung says of the end: the lower end of its rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from search.model.rungs import agreement, trusted


def test_the_lower_end_covers_the_truth_as_often_as_it_says() -> None:
    """Of normal pairs with a known rank correlation nine in ten lower ends lie below it."""
    rng, correlation = np.random.default_rng(0), 0.9
    mix = np.linalg.cholesky([[1.0, correlation], [correlation, 1.0]])
    truth = spearmanr(*(mix @ rng.standard_normal((2, 200_000)))).statistic
    for count in (10, 30):
        below = [agreement(*(mix @ rng.standard_normal((2, count)))) <= truth for _ in range(2000)]
        assert 0.88 < np.mean(below) < 0.97


def test_few_or_equal_ones_say_nothing() -> None:
    line = list(np.linspace(0, 1, 30))
    assert agreement(line, line) > 0.99 and agreement(line, line[::-1]) < -0.99
    assert agreement(line[:4], line[:4]) == -1 and agreement([0.5] * 30, line) == -1
    curves = [{1: one, 2: 1 - one, 4: one} for one in line] + [{1: 0.3, 2: 0.1}]
    found = trusted(curves, (1, 2, 4))
    assert found[1] > 0.99 and found[2] < -0.99 and set(found) == {1, 2}
