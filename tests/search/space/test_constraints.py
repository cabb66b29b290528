"""Limits: what binds, what is said of what breaks one, and what nobody could keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from bevlite.errors import ConfigError
from search.latency.summary import LatencySummary
from search.space.constraints import Limits
from search.study.backend import Scanned
from search.study.pool import nothing_fits, what_may_fit
from tests.search.fakes import SEARCH, load


def summary(ms: float, memory_mb: float | None = None, power_w: float | None = None) -> LatencySummary:
    return LatencySummary("measured", ms, 0.9 * ms, 1.1 * ms, {}, {}, memory_mb=memory_mb, power_w=power_w)


def test_the_frame_rate_is_a_budget() -> None:
    limits = Limits(budget_ms=60, min_fps=20)
    assert limits.most_ms == 50 and Limits(budget_ms=40, min_fps=20).most_ms == 40
    said = limits.reason(summary(58), None)
    assert said is not None and said.endswith(
        "even its lower end 52.2 ms is over the 50.0 ms that 20 frames a second leave"
    )
    assert limits.reason(summary(55), None) is None  # its lower end is within


def test_memory_and_power_of_what_was_measured() -> None:
    limits = Limits(budget_ms=60, max_memory_mb=500, max_power_w=45)
    assert limits.reason(summary(50, 600, 50), None) == (
        "measured 600 MB, over the limit of 500 MB; measured 50.0 W, over the limit of 45 W"
    )
    assert limits.violations(summary(50, 600, 36), None) == pytest.approx(
        {"budget_ms": -0.25, "max_memory_mb": 0.2, "max_power_w": -0.2}
    )
    assert "max_power_w" not in limits.violations(summary(50), None)  # what nobody knows breaks nothing


@pytest.mark.parametrize("key", ["budget_ms", "min_fps", "max_memory_mb", "max_power_w", "max_params_m"])
@pytest.mark.parametrize("value", ["0", "-1", ".nan", ".inf"])
def test_every_limit_is_a_positive_number(key: str, value: str, tmp_path: Path) -> None:
    limits = {"budget_ms": "60", key: value}
    text = SEARCH.replace("{budget_ms: 60}", "{" + ", ".join(f"{k}: {v}" for k, v in limits.items()) + "}")
    with pytest.raises(ConfigError, match=rf"constraints\.{key}"):
        load(tmp_path, text)


def test_power_of_a_prediction_is_that_of_the_mode(tmp_path: Path) -> None:
    text = SEARCH.replace("{budget_ms: 60}", "{budget_ms: 60, max_power_w: 45}")
    with pytest.raises(
        ConfigError, match=r"max_power_w: found 45 with predictions for MAXN.*accepted: device.power_mode"
    ):
        load(tmp_path, text)
    assert load(tmp_path, text + "device: {power_mode: 30W}\n").config.constraints.max_power_w == 45
    with pytest.raises(ConfigError, match="predictions for 50W"):
        load(tmp_path, text + "device: {power_mode: 50W}\n")


def test_what_takes_too_much_memory_is_not_in_the_pool(tmp_path: Path) -> None:
    search = load(tmp_path, SEARCH.replace("{budget_ms: 60}", "{budget_ms: 60, max_memory_mb: 500}"))
    rows = [Scanned({"n": n}, 50.0, 40.0, 60.0, str(n), memory_mb=400.0 + 50 * n) for n in range(5)]
    assert [row.params["n"] for row in what_may_fit(search, rows, 0).rows] == [0, 1, 2]
    pool = what_may_fit(search, rows[3:], 0)
    assert pool.rows == ()
    said = nothing_fits(pool, search.config.constraints).splitlines()
    assert said[0] == "none of the 2 networks that were scanned may fit 60 ms and 500 MB. The nearest:"
    assert said[1] == "  predicted 50.0 ms [40.0, 60.0], 550 MB  n=3" and "with a limit of 550 MB;" in said[-1]
