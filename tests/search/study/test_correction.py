from __future__ import annotations

import math

import pytest

from search.latency.summary import Basis, LatencySummary
from search.study.correction import ASSUMED_SPREAD, Correction, corrected
from search.study.records import TrialRecord


def summary(ms: float, kind: str = "measured", basis: Basis = "engines") -> LatencySummary:
    return LatencySummary(kind, ms, ms * 0.99, ms * 1.01, {}, {}, basis)


def trial(number: int, engines: LatencySummary, whole: LatencySummary | None = None) -> TrialRecord:
    return TrialRecord(number, "completed", {}, f"hash-{number}", engines, engines, whole)


def test_nothing_measured_whole_leaves_the_sum_with_the_assumed_interval() -> None:
    found = Correction.learn([])
    assert found.ratio == 1 and found.networks == 0 and "assumed" in found.text
    assert math.log(found.upper) == pytest.approx(2 * ASSUMED_SPREAD) == pytest.approx(-math.log(found.lower))


def test_many_ratios_outweigh_the_assumption_and_their_spread_is_the_interval() -> None:
    same = Correction.learn([0.9] * 200)
    assert same.ratio == pytest.approx(0.9, rel=2e-3)
    assert same.upper / same.lower < 1.05
    apart = Correction.learn([0.8, 1.0125] * 100)
    assert apart.lower < 0.8 and apart.upper > 1.0125
    assert same.lower < 0.9 < same.upper


def test_one_ratio_moves_it_half_way_and_makes_it_no_wider_than_nothing_would() -> None:
    found = Correction.learn([0.96])
    assert found.ratio == pytest.approx(math.sqrt(0.96))
    assert found.upper / found.lower < math.exp(4 * ASSUMED_SPREAD)


def test_a_whole_measurement_counts_itself_and_corrects_the_others_of_its_kind_alone() -> None:
    records = [
        trial(0, summary(10.0), summary(8.0, basis="whole")),
        trial(1, summary(20.0)),
        trial(2, summary(20.0, "emulated")),
        trial(3, summary(20.0, "predicted", "")),
    ]
    found = corrected(records)
    ratio = math.sqrt(0.8)
    assert [r.latency_ms for r in found] == [8.0, pytest.approx(20 * ratio), 20.0, 20.0]
    assert found[0].latency is not None and found[0].latency.basis == "whole"
    assert found[1].engines == records[1].engines and found[1].lower_ms < 20 * 0.8 * 1.01  # type: ignore[operator]
    assert found[3].latency == records[3].latency


def test_two_trials_of_one_network_teach_once() -> None:
    one = trial(0, summary(10.0), summary(9.0, basis="whole"))
    again = TrialRecord(1, "completed", {}, "hash-0", one.engines, one.engines, one.whole)
    assert Correction.of([one, again], "measured").networks == 1
    assert Correction.of([one], "emulated").networks == 0
