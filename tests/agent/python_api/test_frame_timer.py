"""Whole frames on a GPU whose times are known: what comes out must follow from them by arithmetic."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api import frame_timer
from bevlite.agent.python_api.cuda import RunnerError
from tests.agent.python_api.gpu import COPY_MS, FIRST, SECOND, Gpu
from tests.agent.python_api.test_engine_runner import order

HOST_MS = 0.06
"""What the calls of a frame cost the emulated host at most."""
PROTOCOL = Protocol(warmup_ms=50, duration_s=1.0, longest_s=2.0, queries=100, most_queries=200)


def timed(folder: Path, monkeypatch: pytest.MonkeyPatch, engines: list[Any], gpu: Gpu, **changes: Any) -> Any:
    """Run the timer on the GPU's own clock."""
    content = order(folder, engines, frames=changes.pop("frames", 3), outputs=["y"], **changes)
    content["protocol"] = dataclasses.asdict(changes.get("limits", PROTOCOL))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter_ns", lambda: int(gpu.timeline.now * 1e6))
        patch.setattr(time, "monotonic", lambda: gpu.timeline.now / 1e3)
        return frame_timer.run(content, gpu.tensorrt(), gpu)


def test_one_frame_in_flight_is_the_sum_of_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu()
    engines = [FIRST | {"spans": [["GPU", 3.0]], "first": 4.0}, SECOND | {"spans": [["GPU", 2.0]], "first": 1.0}]
    found = timed(tmp_path, monkeypatch, engines, gpu)
    frame_ms = 2 * COPY_MS + 3.0 + 2.0 + COPY_MS  # two inputs, two engines, one output
    one = found["one"]
    assert np.allclose(one["latency_ms"], frame_ms, atol=HOST_MS) and min(one["latency_ms"]) > frame_ms
    medians = [float(np.median(values)) for values in one["parts_ms"]]
    assert medians == pytest.approx([2 * COPY_MS, 3.0, 2.0, COPY_MS], abs=0.025)
    assert found["first_ms"] == pytest.approx(frame_ms + 5.0, abs=HOST_MS)
    assert len(one["latency_ms"]) / one["seconds"] == pytest.approx(1000 / frame_ms, rel=0.01)
    assert all(len(values) == len(one["latency_ms"]) for values in one["parts_ms"])
    assert found["captured"] == [True, True] and found["not_finite"] == []


@pytest.mark.parametrize(
    ("spans", "period_ms"),
    [
        # All on the GPU: copies hide behind the other frame, and the GPU is never idle.
        ([[["GPU", 3.0]], [["GPU", 2.0]]], 5.0),
        # The second on a DLA, which is the slower stage: both frames together take its time.
        ([[["GPU", 3.0]], [["DLA0", 4.0]]], 4.0),
        # No stage is busy all the time: two frames at once can do no better than half of a frame's latency.
        ([[["GPU", 2.0]], [["DLA0", 2.0]]], (4.0 + 3 * COPY_MS) / 2),
    ],
)
def test_two_frames_in_flight_run_at_the_pace_of_the_slowest_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spans: list[Any], period_ms: float
) -> None:
    gpu = Gpu()
    engines = [FIRST | {"spans": spans[0]}, SECOND | {"spans": spans[1]}]
    found = timed(tmp_path, monkeypatch, engines, gpu)
    two = found["two"]
    rate = len(two["latency_ms"]) / two["seconds"]
    assert rate == pytest.approx(1000 / period_ms, rel=0.03)
    # Little's law: what is in flight is the rate times the latency.
    assert np.mean(two["latency_ms"]) * rate / 1000 == pytest.approx(2.0, rel=0.03)
    alone = found["one"]
    assert len(alone["latency_ms"]) / alone["seconds"] <= rate * 1.001


def test_a_unit_that_is_needed_twice_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the GPU to the DLA and back: faster than one by one, never faster than the GPU's two parts together."""
    engine = FIRST | {"spans": [["GPU", 1.5], ["DLA0", 2.0], ["GPU", 2.5]]}
    two = timed(tmp_path, monkeypatch, [engine | {"outputs": {"y": ["HALF", [2, 3]]}}], Gpu())["two"]
    rate = len(two["latency_ms"]) / two["seconds"]
    assert 1000 / (6.0 + 2 * COPY_MS) < rate < 1000 / 4.0


def test_medians_are_those_of_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that takes longer on every third sample: P50 is the usual time, and the slow third is kept."""
    gpu = Gpu()
    found: dict[str, Any] = {}

    def spans(engine: Any, graph: bool, first: bool) -> list[tuple[str, float]]:
        engine.launched.append(graph)
        return [("GPU", 9.0 if len(engine.launched) % 3 == 0 else 1.0)]

    monkeypatch.setattr("tests.agent.python_api.gpu.KnownEngine.spans_ms", spans)
    found = timed(tmp_path, monkeypatch, [FIRST | {"outputs": {"y": ["HALF", [2, 3]]}}], gpu)
    engine_ms = np.array(found["one"]["parts_ms"][1])
    assert np.median(engine_ms) == pytest.approx(1.0, abs=0.02)
    assert (engine_ms > 8.9).mean() == pytest.approx(1 / 3, abs=0.02)


def test_a_run_goes_on_until_the_interval_is_narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, source = Gpu(), np.random.default_rng(0)
    engine = FIRST | {"outputs": {"y": ["HALF", [2, 3]]}}
    steady = timed(tmp_path, monkeypatch, [engine], Gpu())
    monkeypatch.setattr(
        "tests.agent.python_api.gpu.KnownEngine.spans_ms", lambda *_: [("GPU", float(source.uniform(1.0, 3.0)))]
    )
    found = timed(tmp_path, monkeypatch, [engine], gpu, limits=dataclasses.replace(PROTOCOL, half_width=0.02))
    assert len(found["one"]["latency_ms"]) > PROTOCOL.most_queries  # 200 frames of that spread reach 4 %
    assert found["one"]["seconds"] <= PROTOCOL.longest_s + 0.2
    assert len(steady["one"]["latency_ms"]) == PROTOCOL.most_queries


def test_what_is_running_is_said_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(frame_timer.Lane, "not_finite", lambda self: print("looks at outputs, the GPU idles") or [])
    timed(tmp_path, monkeypatch, [FIRST, SECOND], Gpu())
    assert capsys.readouterr().out.splitlines()[:-1] == list(frame_timer.MARKS)


def test_an_engine_that_allows_no_graph_is_enqueued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu()
    found = timed(tmp_path, monkeypatch, [FIRST | {"capturable": False}, SECOND], gpu)
    assert found["captured"] == [False, True]
    first, second = gpu.engines
    assert set(first.launched) == {False} and set(second.launched) == {False, True}
    assert second.launched.count(False) == 2  # the first run of each of the two contexts


def test_memory_of_one_and_of_two_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines once, contexts and tensors for each lane."""
    gpu = Gpu()
    engines = [FIRST | {"size": 2_000_000, "context": 1_000_000}, SECOND | {"size": 500_000, "context": 300_000}]
    found = timed(tmp_path, monkeypatch, engines, gpu)
    tensors = 24 + 12 + 16 + 24
    assert found["memory_mb"] == pytest.approx((3_800_000 + tensors) / 1e6)
    assert found["memory_two_mb"] == pytest.approx((5_100_000 + 2 * tensors) / 1e6)


def test_memory_of_one_in_flight_has_that_of_its_graphs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu()
    instantiate = gpu.cuGraphInstantiateWithFlags

    def takes_memory(made: Any, graph: Any, flags: Any) -> int:
        gpu.used += 400_000
        return instantiate(made, graph, flags)

    monkeypatch.setattr(gpu, "cuGraphInstantiateWithFlags", takes_memory)
    found = timed(tmp_path, monkeypatch, [FIRST, SECOND], gpu)
    assert found["memory_mb"] == pytest.approx(0.8, abs=1e-3)
    assert found["memory_two_mb"] == pytest.approx(1.6, abs=1e-3)


def test_without_memory_for_a_second_frame_one_in_flight_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu = Gpu(total=3_500_000)
    monkeypatch.setattr(gpu, "cuMemAlloc_v2", lambda address, size: 2 if gpu.used > 3e6 else Gpu.cuMemAlloc_v2(
        gpu, address, size
    ))  # fmt: skip
    found = timed(tmp_path, monkeypatch, [FIRST | {"size": 1_000_000, "context": 2_000_000}, SECOND], gpu)
    assert found["two"] is None and found["captured_two"] is None and found["memory_two_mb"] is None
    assert found["why_not_two"] == "Cuda Runtime (out of memory): cuMemAlloc_v2 gave 2"
    assert len(found["one"]["latency_ms"]) == PROTOCOL.most_queries and found["memory_mb"] > 3.0
    assert capsys.readouterr().out.splitlines() == [frame_timer.ONE, frame_timer.ONE_END]


@pytest.mark.parametrize("fails", ["cuMemAlloc_v2", "cuStreamSynchronize"])
def test_what_breaks_the_context_is_no_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Another error in the second lane ends the run, also one that comes to light after a want of memory."""
    gpu = Gpu()
    say = frame_timer._say

    def breaks(text: str) -> Any:
        if text == frame_timer.ONE_END:
            monkeypatch.setattr(gpu, "cuMemAlloc_v2", lambda *_: 700 if fails == "cuMemAlloc_v2" else 2)
            if fails == "cuStreamSynchronize":
                monkeypatch.setattr(gpu, fails, lambda *_: 700)
        return say(text)

    monkeypatch.setattr(frame_timer, "_say", breaks)
    with pytest.raises(RunnerError, match=f"{fails} gave 700"):
        timed(tmp_path, monkeypatch, [FIRST, SECOND], gpu)


def test_a_refused_capture_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its template is destroyed, and what it leaves of an error fails no frame."""
    gpu = Gpu()
    left: list[bool] = []
    real = Gpu.enqueue

    def enqueue(stream: int, engine: Any, *rest: Any) -> bool:
        if left:
            left.clear()
            return False
        accepted = real(gpu, stream, engine, *rest)
        if not accepted:
            left.append(True)
        return accepted

    monkeypatch.setattr(gpu, "enqueue", enqueue)
    found = timed(tmp_path, monkeypatch, [FIRST | {"capturable": False}, SECOND], gpu)
    assert found["captured"] == found["captured_two"] == [False, True] and not left
    assert len(gpu._graphs) == 2, "one of each lane, the templates are gone"
    monkeypatch.setattr(gpu, "cuGraphInstantiateWithFlags", lambda *_: 801)
    gpu._graphs.clear()
    assert timed(tmp_path, monkeypatch, [FIRST | {"capturable": True}, SECOND], gpu)["captured"] == [False, False]
    assert gpu._graphs == {}


@pytest.mark.parametrize("kind", ["HALF", "FLOAT"])
def test_outputs_that_are_not_finite_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    second = SECOND | {"factor": float("inf"), "outputs": {"y": [kind, [2, 3]]}}
    assert timed(tmp_path, monkeypatch, [FIRST, second], Gpu())["not_finite"] == ["y"]


def test_every_sample_takes_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, seen = Gpu(), []
    real = gpu.memory.load
    monkeypatch.setattr(
        gpu.memory, "load", lambda address, host, size: (seen.append(host), real(address, host, size))[-1]
    )
    timed(tmp_path, monkeypatch, [FIRST | {"outputs": {"y": ["HALF", [2, 3]]}}], gpu, frames=4)
    assert len(set(seen)) == 4 and all(len(set(seen[i : i + 4])) == 4 for i in range(0, 80, 4))


def test_a_sample_that_does_not_fit_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = FIRST | {"inputs": {"x": ["FLOAT", [2, 4]]}}
    with pytest.raises(RunnerError, match="input 'x': found 24 bytes; the engine takes 32"):
        timed(tmp_path, monkeypatch, [first, SECOND], Gpu())
