"""What each limit is compared with, from reports whose figures are known."""

from __future__ import annotations

from typing import Any

import pytest

from bevlite.deploy.limits import limits_of
from bevlite.devices.report.deploy import Budgets, LimitRow
from bevlite.devices.report.frame_results import flight_of, not_measured, steps_of
from bevlite.devices.report.latency import LatencyReport, ModuleRow
from bevlite.devices.report.timing import EngineFacts, Measured, Power, Timing
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.latency.pipeline import steps_for

ALL = Budgets(latency_ms=10.0, fps=100.0, power_w=30.0, memory_mb=100.0)
STEPS = steps_for(cameras=6, sweeps=10, after=["decoding"])


def power(watts: float) -> dict[str, Any]:
    return {"source": "test", "samples": 1, "rails": [], "module_w": watts, "module_of": "all"}


def engine(p50_ms: float, p99_ms: float, watts: float) -> ModuleRow:
    samples = [p50_ms] * 98 + [p99_ms] * 2
    measured = Measured(
        cuda_graph=Timing.of_runs([samples], 0.01),
        power=Power.model_validate(power(watts)),
        memory_mb=10.0,
        engine=EngineFacts(key="k", size_mb=5.0, build_s=1.0, cached=True, precisions={}),
    )
    return ModuleRow(name="m", latency_ms=p50_ms, lower_ms=p50_ms, upper_ms=p50_ms, measured=measured)


def report(frames: WholeFrames | None) -> LatencyReport:
    rows = (engine(3.0, 4.0, 20.0), engine(2.0, 2.5, 25.0))
    found = LatencyReport(
        kind="measured", device="d", precision="fp16", modules=rows, total_ms=5.0, lower_ms=5.0, upper_ms=5.0,
        missing=("image_preprocessing", "decoding"),
    )  # fmt: skip
    return found if frames is None else found.with_whole_frames(frames)


def frames(watts: float | None = 28.0) -> WholeFrames:
    """Frames of 6 ms, two of a hundred of 9 ms; two in flight leave every 5 ms."""
    latency = [6.0] * 98 + [9.0] * 2
    parts = [[0.3] * 100, [3.1] * 100, [2.1] * 100, [0.2] * 100]
    names = ["copy in", "a", "b", "copy out"]
    one = flight_of([{"latency_ms": latency, "parts_ms": parts, "seconds": 0.606}], names, 0.01,
                    None if watts is None else power(watts), 40.0)  # fmt: skip
    two = flight_of([{"latency_ms": [10.0] * 100, "parts_ms": parts, "seconds": 0.5}], names, 0.01, None, 60.0)
    steps = steps_of(STEPS, ["a", "b"], one, "")
    return WholeFrames(steps=tuple(steps), one_in_flight=one, two_in_flight=two, runner="r", first_frames_ms=(50.0,))


def rows(found: WholeFrames | None) -> dict[str, LimitRow]:
    return {row.name: row for row in limits_of(ALL, report(found), None, None)}


def test_whole_frames_count_where_they_were_timed() -> None:
    found = rows(frames())
    latency, rate = found["latency P99"], found["frame rate"]
    assert latency.found == 9.0 and latency.met
    assert latency.basis == "end to end, one frame in flight; not in it: image_preprocessing, pillarisation, decoding"
    assert rate.found == pytest.approx(100 / 0.606) and "with two in flight 200.0 1/s" in rate.basis
    assert found["power"].found == 28.0 and "whole frames" in found["power"].basis
    assert found["memory at peak"].found == 40.0 and "two in flight 60 MB" in found["memory at peak"].basis


def test_else_the_sum_of_the_engines_counts_and_the_reason_is_named() -> None:
    for given in (None, not_measured("no package (install it)", ["a", "b"], STEPS)):
        found = rows(given)
        assert found["latency P99"].found == 6.5 and "sum of the P99 of 2 engines" in found["latency P99"].basis
        assert "image_preprocessing, decoding" in found["latency P99"].basis
        assert found["frame rate"].found == 200.0 and found["power"].found == 25.0
        assert found["memory at peak"].found == 30.0
        why_not = "not asked for" if given is None else "no package (install it)"
        assert found["latency P99"].basis.endswith(f"; whole frames not measured: {why_not}")


def test_the_engine_that_draws_most_is_not_hidden_by_the_frames() -> None:
    assert rows(frames(watts=18.0))["power"].found == 25.0
    assert rows(frames(watts=None))["power"].found == 25.0


def test_the_difference_to_the_engines_alone_adds_up() -> None:
    found = report(frames()).end_to_end
    assert found is not None and found.difference_ms == pytest.approx(1.0)
    assert found.difference == (
        "1.000 ms more than the sum of the engines' medians alone (5.000 ms, without copies): copies 0.500 ms, "
        "engines in the chain 5.200 ms, the rest 0.300 ms (host, waits between steps; medians, which need not add up)"
    )


def test_a_step_is_measured_or_says_why_not() -> None:
    names = [(step.name, step.status) for step in frames().steps]
    assert names == [
        ("image_preprocessing", "missing"), ("pillarisation", "missing"), ("copy in", "measured"), ("a", "measured"),
        ("b", "measured"), ("copy out", "measured"), ("decoding", "missing"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="missing with why"):
        frames().steps[0].model_validate({"name": "x", "status": "missing"})
    with pytest.raises(ValueError, match="either one_in_flight or why_not"):
        WholeFrames(steps=())
