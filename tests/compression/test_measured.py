"""What was measured, as prices: curves by hand, and which layers are cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.compression.choice import Limits, for_budget
from bevlite.compression.measured import MeasuredCut, PruningSensitivity, Slopes, rank_correlation, read_sensitivity
from bevlite.errors import BevliteError
from tests.compression.test_choice import GROUPS, MS, SIZES, STEADY_MS, costs, left, shares


def cut(unit: str, ratio: float, loss: float, **changes: Any) -> MeasuredCut:
    values = dict(
        unit=unit, groups=(unit,), ratio=ratio, channels=SIZES.get(unit, 64), removed=1, spent=-np.log(1 - ratio),
        loss=loss, lower=loss, upper=loss, error=0.0, halves=None, predicted_ms=1.0, saved_ms=1.0,
    )  # fmt: skip
    return MeasuredCut(**values | changes)


def table(*cuts: MeasuredCut, whole: float = 0.5) -> PruningSensitivity:
    return PruningSensitivity(
        network_hash="one", stage="float", figure="NDS", whole=whole, whole_ms=9.0, split="val", samples=8, scenes=4,
        by="layer", importance="l2", align=8, device="board", tensorrt="10.3", rank_correlation=None, cuts=cuts,
    )  # fmt: skip


def test_slopes_of_a_law_that_is_known() -> None:
    """A unit that keeps (1 - ratio) ** n of the accuracy has the slope n wherever the cut has come to."""
    law = {"camera.a": 0.1, "lidar.c": 2.0}
    found = Slopes(table(*(cut(u, r, 0.5 * (1 - (1 - r) ** n)) for u, n in law.items() for r in (0.25, 0.5, 0.75))))
    for unit, power in law.items():
        for spent in (0.0, 0.2, 0.5, 1.3, 4.0):
            assert found.of(unit, {unit: spent, "lidar.d": 9.0}) == pytest.approx(power)
    assert 0.1 < found.of("lidar.d", {}) < 2.0  # was not measured


def test_slopes_grow_and_are_never_free() -> None:
    rising = Slopes(table(cut("camera.a", 0.25, 0.01), cut("camera.a", 0.5, 0.2), cut("camera.b", 0.5, -0.02)))
    first, second = -np.log(0.75), -np.log(0.5)
    start = -np.log(1 - 0.02) / first
    assert rising.of("camera.a", {}) == pytest.approx(start)
    assert rising.of("camera.a", {"camera.a": first}) == pytest.approx((-np.log(0.6) + np.log(0.98)) / (second - first))
    assert 0 < rising.of("camera.b", {}) < start  # scored better when cut: as good as nothing, but not free
    # A first step that costs more than the second one: both at once, since more costs hardly more.
    falling = Slopes(table(cut("camera.a", 0.25, 0.2), cut("camera.a", 0.5, 0.21)))
    assert falling.of("camera.a", {}) == pytest.approx(-np.log(1 - 0.42) / second)
    # A loss below what the samples can tell is taken as that; below nothing, a network cannot fall.
    unsure = Slopes(table(cut("camera.a", 0.5, 0.0, error=0.05)))
    assert unsure.of("camera.a", {}) == pytest.approx(-np.log(0.9) / second)
    lost = Slopes(table(cut("camera.a", 0.5, 0.5)))
    assert lost.of("camera.a", {}) == pytest.approx(-np.log(0.02) / second)


def test_a_unit_of_several_groups_has_one_curve() -> None:
    both = ("lidar.c", "lidar.d")
    cuts = (cut("lidar", r, 0.5 * (1 - (1 - r) ** n), groups=both, spent=-2 * np.log(1 - r)) for r, n in
            ((0.25, 1.0), (0.5, 2.0)))  # fmt: skip
    found = Slopes(table(*cuts))
    start = found.of("lidar.c", {})
    assert start == found.of("lidar.d", {}) == pytest.approx(0.5)
    assert found.of("lidar.c", {"lidar.c": 0.2, "lidar.d": 0.5}) > start == found.of("lidar.c", {"lidar.c": 0.5})


def test_a_budget_spares_what_was_measured_to_matter() -> None:
    whole = sum(MS.values()) + STEADY_MS
    plain = for_budget(GROUPS, shares(), whole - 5, costs, Limits())
    assert left(plain)["camera.a"] < 0.6  # by far the slowest, so that it goes first
    told = Slopes(table(cut("camera.a", 0.5, 0.45), *(cut(n, 0.5, 0.001) for n in ("lidar.c", "lidar.d", "camera.b"))))
    found = for_budget(GROUPS, shares(), whole - 5, costs, Limits(), slope=told.of)
    assert costs(found).total_ms <= whole - 5
    assert left(found)["camera.a"] == 1.0 > max(left(found)["lidar.c"], left(found)["lidar.d"])
    # The same everywhere: as if nothing had been measured.
    equal = Slopes(table(*(cut(name, 0.5, 0.1) for name in SIZES)))
    same = for_budget(GROUPS, shares(), whole - 5, costs, Limits(), slope=equal.of)
    assert {n: r.tolist() for n, r in same.items()} == {n: r.tolist() for n, r in plain.items()}


def test_rank_correlation_of_halves() -> None:
    """By hand: 1 - 6 * sum of squared differences of ranks / (n (n^2 - 1))."""
    first, second = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 9.0]
    cuts = [cut("a", 0.5, 0.1, halves=pair) for pair in zip(first, second, strict=True)]
    assert rank_correlation(cuts) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert rank_correlation([cut("a", 0.5, 0.1)]) is None
    assert rank_correlation([cut("a", 0.5, 0.1, halves=(0.1, float(i))) for i in range(3)]) is None


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    written = table(cut("camera.a", 0.5, 0.1, halves=(0.1, 0.2)))
    written.write(file)
    assert read_sensitivity(file, "one") == written
    content = json.loads(file.read_text())
    for change, said in (
        ({"network_hash": "two"}, r"found the sensitivity of another network \(hash two\); accepted: .* \(hash one\)"),
        ({"cuts": []}, "0 cuts; accepted: a trained network, and a cut at least"),
        ({"whole": 0}, "found NDS 0 of the whole network"),
        ({"whole": float("nan")}, "whole: found NaN"),
        ({"cuts": [content["cuts"][0] | {"spent": -1}]}, r"cuts\.0\.spent: found -1"),
        ({"colour": 1}, "colour: unknown key"),
    ):
        file.write_text(json.dumps(content | change))
        with pytest.raises(BevliteError, match=said):
            read_sensitivity(file, "one")
    for text in ("[1]", '{"whole"', ""):
        file.write_text(text)
        with pytest.raises(BevliteError, match="accepted: what `bevlite analyze sensitivity RUN --prune` wrote"):
            read_sensitivity(file, "one")
