"""Outputs of a query head compared as sets."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.export.parity import compare
from bevlite.runtime.decoding import QueryRows
from bevlite.runtime.query_sets import paired
from bevlite.tasks.contract import RawMap

MAP = RawMap("found", (1, 15, 40), ("batch", "value", "query"), "set")


def output(seed: int = 0, samples: int = 2) -> np.ndarray:
    """Forty queries a sample, best first."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(samples, 15, 40))
    values[:, QueryRows.CLASS] = rng.integers(0, 10, (samples, 40))
    for sample in values:
        sample[QueryRows.X : QueryRows.Y + 1] = np.stack(np.divmod(rng.choice(2500, 40, replace=False), 50))
    values[:, QueryRows.HEAT] = np.linspace(0.9, 0.1, 40)
    return values.astype(np.float32)


def relative(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Relative difference and share, as an export reports them."""
    (row,) = compare(lambda _: {"found": a}, lambda _: {"found": b}, [{}], [MAP])
    return row.relative, row.agreement


def test_order_counts_nothing() -> None:
    one = output()
    order = np.random.default_rng(1).permutation(40)
    assert relative(one, one[:, :, order]) == (0.0, 1.0)
    assert not relative(one, one[:, :, order])[0] and np.abs(one - one[:, :, order]).max() > 1


@pytest.mark.parametrize("row", range(QueryRows.HEAT, 15))
def test_every_value_counts_alike(row: int) -> None:
    one, other = output(), output()
    one[:, row] *= 1e-3
    other[:, row] *= 1e-3 * 1.01
    found = relative(one, other)
    assert found[0] == pytest.approx(0.01 / np.sqrt(12), rel=1e-3) and found[1] == 1


def test_a_tie_at_the_cut_is_forgiven_and_a_wrong_choice_is_not() -> None:
    one = output()
    tie, wrong = one.copy(), one.copy()
    tie[:, QueryRows.X, -1] += 100  # the last one, for another place that is as warm
    assert relative(one, tie)[0] < 1e-6 and relative(one, tie)[1] == pytest.approx(39 / 40)
    wrong[:, QueryRows.X, 0] += 100  # the warmest is not there at all
    assert relative(one, wrong)[0] > 0.05
    swapped = one.copy()
    swapped[:, [QueryRows.X, QueryRows.Y]] = one[:, [QueryRows.Y, QueryRows.X]]
    assert relative(one, swapped)[0] > 0.3 and relative(one, swapped)[1] < 0.2


def test_samples_are_told_apart() -> None:
    one = output()
    assert relative(one, one[::-1].copy())[1] < 0.2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_differs_without_end(value: float) -> None:
    one, other = output(), output()
    other[1, 7, 3] = value
    assert relative(one, other)[0] == np.inf
    assert paired(one, other)[2] == 0.5
