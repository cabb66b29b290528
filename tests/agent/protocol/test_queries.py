"""How long a run goes on, on a clock of its own."""

from __future__ import annotations

import dataclasses
import itertools
import time

import pytest

from bevlite.agent.protocol import queries, statistics
from bevlite.agent.protocol.protocol import MOST_DOUBLED, Protocol

LIMITS = Protocol(duration_s=2.0, longest_s=10.0, queries=100, most_queries=1000, half_width=0.01)


class Clock:
    """Moves by what each query takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *times_ms: float) -> None:
        self.now = 0.0
        self._times = itertools.cycle(times_ms)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def query(self) -> float:
        value = next(self._times)
        self.now += value / 1000
        return value


@pytest.mark.parametrize(
    ("ms", "expected"),
    [
        (10.0, 200),  # 2 s
        (1.0, 1000),  # the most queries, after 1 s
        (50.0, 100),  # the fewest, after 5 s
        (400.0, 25),  # the longest duration, far from enough
    ],
)
def test_a_steady_run_ends_by_its_limits(monkeypatch: pytest.MonkeyPatch, ms: float, expected: int) -> None:
    clock = Clock(monkeypatch, ms)
    assert len(queries.run(clock.query, LIMITS)) == expected


def test_a_wide_interval_makes_it_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two values in turn: the interval of the median spans both however many there are."""
    clock = Clock(monkeypatch, 5.0, 15.0)
    assert sum(queries.run(clock.query, LIMITS)) == pytest.approx(10_000.0, abs=20.0)
    fast = Clock(monkeypatch, 0.05, 0.15)
    few = dataclasses.replace(LIMITS, most_queries=200)
    assert len(queries.run(fast.query, few)) == MOST_DOUBLED * 200


def test_the_interval_is_looked_at_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sorts all values while the board idles: 8000 queries are 22 looks, each a tenth further on, not 140."""
    clock, looks = Clock(monkeypatch, 0.5), []
    monkeypatch.setattr(statistics, "half_width", lambda values: looks.append(len(values)) or 1.0)
    assert len(queries.run(clock.query, LIMITS)) == MOST_DOUBLED * LIMITS.most_queries
    assert looks[0] == LIMITS.most_queries and len(looks) <= 22
    assert all(1.1 <= after / before <= 1.16 for before, after in itertools.pairwise(looks))


def test_warm_up_calls_once_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 10.0)
    queries.warm_up(clock.query, 0.0)
    assert clock.now == pytest.approx(0.01)
    queries.warm_up(clock.query, 0.1)
    assert clock.now == pytest.approx(0.11, abs=0.011)
