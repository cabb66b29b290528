from __future__ import annotations

import random
import statistics as reference

import numpy as np
import pytest
from scipy.stats import binom

from bevlite.agent.protocol import statistics


@pytest.mark.parametrize("n", [1, 2, 5, 6, 7, 25, 100, 399, 400, 401, 1000, 5000])
def test_the_interval_covers_what_the_binomial_distribution_says(n: int) -> None:
    lower, upper = statistics.median_interval(list(range(n)))
    assert lower + upper == n - 1  # symmetric: the k-th smallest and the k-th largest
    coverage = 1 - 2 * binom.cdf(int(lower), n, 0.5)
    if n >= 6:
        assert 0.95 <= coverage < 0.99
        narrower = 1 - 2 * binom.cdf(int(lower) + 1, n, 0.5)
        assert narrower < 0.95 or n > 400  # the exact interval is the narrowest, the approximation rounds outwards
    else:
        assert (lower, upper) == (0, n - 1)


def test_the_interval_holds_for_a_skewed_distribution() -> None:
    source = np.random.default_rng(0)
    true_median = np.log(2.0)
    held = 0
    for _ in range(1000):
        lower, upper = statistics.median_interval(source.exponential(size=80).tolist())
        held += lower <= true_median <= upper
    assert 930 <= held <= 985


def test_percentiles_are_those_of_trtexec() -> None:
    values = [float(v) for v in range(1, 101)]
    random.Random(0).shuffle(values)
    assert statistics.percentile(values, 99) == 99.0  # index 100 - 1 - int(0.01 * 100)
    assert statistics.percentile(values, 90) == 90.0
    ten = values[:10]
    assert statistics.percentile(ten, 99) == max(ten)
    assert statistics.median(values) == reference.median(values) and statistics.median([3.0]) == 3.0


def test_spread_and_drift() -> None:
    assert statistics.spread([10.0, 10.0, 10.1]) == pytest.approx(0.01)
    assert statistics.drift([10.0] * 30 + [12.0] * 30 + [15.0] * 30) == pytest.approx(0.5)
    assert statistics.drift([1.0]) == 0.0
