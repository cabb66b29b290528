"""What the answer of a board's job amounts to."""

from __future__ import annotations

from typing import Any

import pytest

from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.report.frame_results import SampleFrames, of_answer
from bevlite.devices.report.whole_frames import Samples, WholeFrames

GIVEN = SampleFrames(({},), Samples(count=1, source="drawn", real=False))
WHY = "Cuda Runtime (out of memory): cuMemAlloc_v2 gave 2"


def flight(latency_ms: float) -> dict[str, Any]:
    """A run of a hundred frames of two modules."""
    count = 100
    parts = [[0.1] * count, [latency_ms / 2] * count, [latency_ms / 4] * count, [0.1] * count]
    return {"latency_ms": [latency_ms] * count, "parts_ms": parts, "seconds": latency_ms * count / 1000}


def run(**changes: Any) -> dict[str, Any]:
    """What one process answers."""
    return {
        "first_ms": 50.0,
        "one": flight(4.0),
        "two": flight(6.0),
        "captured": [True, True],
        "captured_two": [True, True],
        "memory_mb": 10.0,
        "memory_two_mb": 15.0,
        "why_not_two": None,
        "not_finite": [],
        "tensorrt": "10.3.0.30",
    } | changes


def without_two(**changes: Any) -> dict[str, Any]:
    """What a process without memory for a second frame answers."""
    return run(two=None, captured_two=None, memory_two_mb=None, why_not_two=WHY, **changes)


def read(*runs: dict[str, Any]) -> WholeFrames:
    keys = ("power_mode", "gpu_clock_mhz", "clocks_locked", "cpu_governor", "temperature_c")
    conditions = dict.fromkeys(keys)
    answer = {
        "why_not": None,
        "runs": list(runs),
        "power": {"one": None, "two": None},
        "conditions": conditions,
        "conditions_after": conditions,
        "command": ["python3"],
        "engines": {"neck": {"key": "a"}, "head": {"key": "b"}},
        "notes": [],
    }
    return of_answer(answer, ["neck", "head"], GIVEN, (), Protocol())


def test_memory_is_the_most_of_all_runs() -> None:
    found = read(run(memory_mb=12.0, memory_two_mb=20.0), run(), run(memory_mb=11.0, memory_two_mb=14.0))
    assert found.one_in_flight is not None and found.one_in_flight.memory_mb == 12.0
    assert found.two_in_flight is not None and found.two_in_flight.memory_mb == 20.0
    assert found.cuda_graphs == ("neck", "head") and found.notes == ()


@pytest.mark.parametrize("runs", [[without_two()] * 2, [run(), without_two()], [without_two(), run()]])
def test_without_memory_for_two_frames_the_figures_of_one_stay(runs: list[dict[str, Any]]) -> None:
    found = read(*runs)
    assert found.two_in_flight is None and found.notes == (f"two frames in flight are not timed: {WHY}",)
    assert found.one_in_flight is not None and found.one_in_flight.timing.p50_ms == 4.0
    assert WholeFrames.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("runs", "note"),
    [
        ([run(captured=[True, False]), run()], "head: CUDA graph refused 1 of 4 times"),
        ([run(captured_two=[True, False]), without_two()], "head: CUDA graph refused 1 of 3 times"),
        ([run(captured=[True, False], captured_two=[True, False])], "head: CUDA graph refused: enqueued without one"),
    ],
)
def test_a_graph_counts_where_every_lane_of_every_run_has_it(runs: list[dict[str, Any]], note: str) -> None:
    found = read(*runs)
    assert found.cuda_graphs == ("neck",)
    assert any(text.startswith(note) for text in found.notes), found.notes
