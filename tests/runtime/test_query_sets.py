"""Outputs of a query head compared as sets."""

from __future__ import annotations

import numpy as np
import pytest

from bevlite.devices.golden.golden import compare as golden
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


def test_engines_are_held_against_sets() -> None:
    """The golden check of a board: another order is good, another value or an infinite one is not."""
    one = output()
    order = np.random.default_rng(2).permutation(40)
    louder, broken = one * np.float32(1.2), one.copy()
    louder[:, : QueryRows.Y + 1] = one[:, : QueryRows.Y + 1]
    broken[0, 9, 0] = np.inf
    for found, good in ((one[:, :, order], True), (louder, False), (broken, False)):
        assert golden("found", "heads", [one], [found], "fp16", as_set=True).good is good
    assert not golden("found", "heads", [one], [one[:, :, order]], "fp16").good
    cut = one.copy()
    cut[:, QueryRows.X, -4:] += 100
    assert golden("found", "heads", [one], [cut], "fp16", as_set=True).limit == pytest.approx(0.05 + 0.1)
