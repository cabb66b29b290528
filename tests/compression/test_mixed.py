"""Which layers go back to FP16, on tables written by hand: against the rule taken literally, and colliding limits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from bevlite.compression.measured_int8 import Lost, QuantizationSensitivity, QuantizedUnit
from bevlite.compression.mixed import MixedLimits, choose
from bevlite.errors import BevliteError


def lost(value: float) -> Lost:
    return Lost(loss=value, lower=value, upper=value, error=0.0, halves=None)


def unit(name: str, loss: float, saved_ms: float, layers: tuple[str, ...] = ()) -> QuantizedUnit:
    one = lost(loss)
    own = layers or (name,)
    return QuantizedUnit(
        **one.model_dump(), unit=name, layers=own, first=one, last=one, first_ms=saved_ms, saved_ms=saved_ms
    )


def table(*units: QuantizedUnit, total: float | None = None, whole: float = 0.5) -> QuantizationSensitivity:
    loss = sum(max(0.0, one.loss) for one in units) if total is None else total
    values: dict[str, Any] = {"network_hash": "one", "stage": "calibration", "figure": "NDS", "split": "val"}
    return QuantizationSensitivity(
        **values, whole=whole, whole_ms=20.0, int8=whole - loss, int8_ms=10.0, lost=lost(loss), samples=4, scenes=2,
        by="layer", device="board", tensorrt="10.3", power_mode="MAXN", rank_correlation=None, units=units,
    )  # fmt: skip


def added(measured: QuantizationSensitivity) -> Callable[[frozenset[str]], float]:
    """Milliseconds of networks whose layers do not mind each other."""
    saved = {layer: one.saved_ms / len(one.layers) for one in measured.units for layer in one.layers}
    return lambda inside: 20.0 - sum(saved[layer] for layer in inside)


def every(measured: QuantizationSensitivity) -> frozenset[str]:
    return frozenset(layer for one in measured.units for layer in one.layers)


def test_the_dearest_for_a_millisecond_go_back_and_no_more() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        units = [unit(f"l{i}", float(rng.uniform(1e-4, 5e-3)), float(rng.uniform(0.05, 1))) for i in range(12)]
        measured, limit = table(*units), float(rng.uniform(0, 0.06))
        made = choose(measured, every(measured), MixedLimits(max_drop=limit), added(measured))
        order = sorted(units, key=lambda one: -one.loss / one.saved_ms)
        # The shortest start of the order after which the rest loses little enough (one layer at least stays).
        rests = [sum(one.loss for one in order[count:]) / 0.5 for count in range(len(order))]
        count = next((i for i, rest in enumerate(rests) if rest <= limit + 1e-12), len(order) - 1)
        assert set(made.floats) == {one.unit for one in order[:count]}, seed
        assert made.drop == pytest.approx(rests[count])
        assert made.predicted_ms == pytest.approx(20 - sum(one.saved_ms for one in order[count:]))
        assert bool(made.missed) == (made.drop > limit)


def test_losses_are_shares_of_what_all_lost() -> None:
    measured = table(unit("a", 0.03, 1), unit("b", 0.01, 1), unit("c", -0.02, 1), total=0.02)
    full, none = (choose(measured, every(measured), MixedLimits(max_drop=d), added(measured)) for d in (1.0, 0.02))
    assert full.drop == pytest.approx(0.02 / 0.5) and not full.floats
    # Without a, a quarter of 0.02 is left; c won, and pays for nobody.
    assert set(none.floats) == {"a"} and none.drop == pytest.approx(0.005 / 0.5)
    assert choose(table(unit("a", 0.01, 1), total=-0.01), frozenset("a"), MixedLimits(0.0), lambda _: 1.0).drop == 0


def test_what_saves_no_time_goes_back_unless_it_wins() -> None:
    measured = table(unit("a", 0.0, 0.0), unit("b", 0.01, -0.5), unit("c", -0.01, -0.1), unit("d", 0.02, 1))
    made = choose(measured, every(measured), MixedLimits(), added(measured))
    assert list(made.floats) == ["b", "a"] and made.predicted_ms == pytest.approx(20 + 0.1 - 1)
    assert "saves no time" in made.floats["a"]
    # Once b went back a saves something after all, since it was between two in INT8: it stays.
    later = choose(
        measured, every(measured), MixedLimits(),
        lambda inside: 10 - ("b" not in inside) + 3 * ("b" not in inside and "a" not in inside),
    )  # fmt: skip
    assert list(later.floats) == ["b"]


def test_a_budget_alone_gives_back_what_it_affords() -> None:
    measured = table(unit("a", 0.03, 2), unit("b", 0.02, 2), unit("c", 0.001, 0.5), unit("d", 0.0, 1), unit("e", -1, 3))
    made = choose(measured, every(measured), MixedLimits(budget_ms=14.2), added(measured))
    assert set(made.floats) == {"a", "c"} and made.predicted_ms == pytest.approx(14.0)  # b does not fit, c does
    spent = [choose(measured, every(measured), MixedLimits(budget_ms=ms), added(measured)).drop for ms in range(11, 20)]
    assert all(more <= less for less, more in pairwise(spent)) and spent[-1] == 0


def test_limits_that_cannot_both_be_met_are_said_in_one_line() -> None:
    measured = table(unit("a", 0.03, 2), unit("b", 0.02, 2), unit("c", 0.001, 0.5))
    made = choose(measured, every(measured), MixedLimits(0.01, 17.6), added(measured))
    assert set(made.floats) == {"a"} and "\n" not in made.missed
    assert "4.20% is expected to be lost, 1.00% may be (reached: 4.20% lost, 17.50 ms)" in made.missed
    assert (
        "15.50 ms are predicted, 10 are the budget"
        in choose(measured, every(measured), MixedLimits(1.0, 10), added(measured)).missed
    )


def test_layers_that_were_asked_for_stay_and_others_must_be_measured() -> None:
    measured = table(unit("a", 0.03, 1, ("a.x", "a.y")), unit("b", 0.02, 1))
    made = choose(measured, every(measured), MixedLimits(0.01), added(measured), fixed={"a.x"})
    assert set(made.floats) == {"b"} and made.missed
    with pytest.raises(BevliteError, match="found no measurement of c; accepted: a table of all layers"):
        choose(measured, every(measured) | {"c"}, MixedLimits(), lambda _: 1.0)
    # Those that are not candidates now do not count.
    assert set(choose(measured, frozenset({"a.x", "b"}), MixedLimits(0.05), lambda _: 1.0).floats) == {"a.x"}
