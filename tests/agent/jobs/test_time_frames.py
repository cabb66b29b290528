"""The job that times whole frames: which samples of the board belong to what."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bevlite.agent.jobs import time_frames
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api import frame_timer, runner
from bevlite.agent.system import power
from bevlite.agent.system.power import Sample

MARKED = {frame_timer.ONE: 10.0, frame_timer.ONE_END: 20.0, frame_timer.TWO: 30.0, frame_timer.END: 40.0}


class Guard:
    """Everything is in order."""

    def require_lease(self) -> None:
        pass


def once(folder: Path, monkeypatch: pytest.MonkeyPatch, marks: dict[str, float], moments: list[float]) -> Any:
    """One run whose program prints the marks at known times, on a board that was sampled at known times."""
    now = [0.0]

    class Sampler:
        source = "ina3221"
        taken: list[float] = []

        def start(self) -> None:
            self.taken.clear()

        def take(self) -> None:
            self.taken.append(now[0])

        def stop(self) -> list[Sample]:
            return [Sample(at, {"VDD_IN": at}, None, None) for at in sorted([*moments, *self.taken])]

    def start(
        program: str, order: dict[str, Any], work: str, limit_s: float, phase: str, on_line: Callable[[str], None]
    ) -> runner.Done:
        for mark, at in marks.items():
            now[0] = at
            on_line(mark + "\n")
            on_line("something else\n")
        way = {"latency_ms": [1.0, 1.0]}
        return runner.Done({"one": way, "two": way if frame_timer.TWO in marks else None}, ["python3"])

    monkeypatch.setattr(power, "Sampler", Sampler)
    monkeypatch.setattr(runner, "start", start)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    timer: Any = object.__new__(time_frames._Timer)
    timer._protocol, timer._folder, timer._guard = Protocol(), str(folder), Guard()
    return timer._once({})


def test_power_is_that_of_each_way_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two, a second chain is made and warmed up with two frames in flight."""
    run = once(tmp_path, monkeypatch, MARKED, [5.0, 12.0, 19.9, 22.0, 29.0, 35.0, 41.0])
    assert [sample.at for sample in run.one] == [10.0, 12.0, 19.9]
    assert [sample.at for sample in run.two] == [30.0, 35.0]


def test_without_a_second_frame_nothing_is_told_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No sample of another time takes its place."""
    marks = {mark: at for mark, at in MARKED.items() if mark in (frame_timer.ONE, frame_timer.ONE_END)}
    run = once(tmp_path, monkeypatch, marks, [12.0, 35.0, 50.0])
    assert run.two == [] and [sample.at for sample in run.one] == [10.0, 12.0]
    assert power.summary(run.two, run.power_source) is None
    seen = time_frames._seen(run)
    assert seen.values_ms == [[1.0, 1.0]] and seen.samples == run.one
