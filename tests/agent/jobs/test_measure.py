"""Which samples of the board belong to a run of trtexec."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bevlite.agent.jobs import measure
from bevlite.agent.process import Finished
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.system import power
from bevlite.agent.system.power import Sample
from bevlite.agent.trtexec import commands, documents
from bevlite.agent.trtexec.versions import TensorRT

BEGINS, ENDS = "[I] Starting inference", "[I] Timing trace has 200 queries"


@pytest.mark.parametrize(
    ("printed", "moments", "kept"),
    [
        # After the warm-up of a second, before the files are written.
        ([(10.0, BEGINS), (20.0, ENDS)], [5.0, 10.5, 11.5, 19.0, 21.0], [11.5, 19.0]),
        # Shorter than the interval: what was taken at its start is load as well.
        ([(10.0, BEGINS), (10.8, ENDS)], [9.9, 12.0], [10.0]),
        # A source that gives nothing on demand, and nothing in the window: then there is no power.
        ([(10.0, BEGINS), (10.8, ENDS)], [9.9, 12.0, None], []),
        ([], [1.0, 2.0], []),
    ],
)
def test_power_is_that_of_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    printed: list[tuple[float, str]],
    moments: list[float | None],
    kept: list[float],
) -> None:
    now, known = [0.0], [at for at in moments if at is not None]

    class Sampler:
        source = "ina3221"

        def start(self) -> None:
            pass

        def take(self) -> None:
            if None not in moments:
                known.append(now[0])

        def stop(self) -> list[Sample]:
            return [Sample(at, {"VDD_IN": 10.0}, None, None) for at in known]

    def trtexec(self: Any, command: list[str], phase: str, on_line: Any = None) -> Finished:
        for now[0], line in printed:
            on_line(line)
        return Finished(0, "", 1.0)

    monkeypatch.setattr(power, "Sampler", Sampler)
    monkeypatch.setattr(measure.Measurement, "_trtexec", trtexec)
    monkeypatch.setattr(measure.Measurement, "_cross_check", lambda *arguments: None)
    monkeypatch.setattr(measure, "_text", lambda path: "[]")
    monkeypatch.setattr(documents, "times", lambda text: documents.Times([1.0], [0.1], [0.1]))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    store: Any = SimpleNamespace(work=lambda: str(tmp_path))
    builder: Any = SimpleNamespace(trtexec="trtexec", version=TensorRT(10, 3, 0))
    engine: Any = SimpleNamespace(path="m.plan")
    unused: Any = None
    job = measure.Measurement(store, builder, unused, Protocol(), {}, lambda text: None)
    timed = job._once(engine, commands.Run(1000, 10.0, 200, True, False, {}))
    assert [sample.at for sample in timed.samples] == kept
    assert (power.summary(timed.samples, timed.power_source) is None) == (kept == [])
