"""Whole frames by ONNX Runtime on the CPU: one after the other, no copies, no second frame in flight."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bevlite.agent.protocol.flights import Turn, one_in_flight
from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.report.frame_results import SampleFrames, doubts, flight_of, steps_of
from bevlite.devices.report.whole_frames import EndToEnd
from bevlite.latency.pipeline import PipelineStep


class CpuLane:
    """The modules of a network, one after the other in this thread."""

    def __init__(self, sessions: Mapping[str, Any]) -> None:
        self._sessions = sessions
        self._marks = [0.0]
        self.known: dict[str, np.ndarray] = {}

    def issue(self, sample: Mapping[str, np.ndarray]) -> None:
        """Run a whole frame."""
        self.known = dict(sample)
        self._marks = [time.perf_counter()]
        for session in self._sessions.values():
            names = [value.name for value in session.get_outputs()]
            feed = {value.name: self.known[value.name] for value in session.get_inputs()}
            self.known.update(zip(names, session.run(names, feed), strict=True))
            self._marks.append(time.perf_counter())

    def finish(self) -> float:
        """Latency of the frame in ms."""
        return (self._marks[-1] - self._marks[0]) * 1000

    def parts_ms(self) -> list[float]:
        """Time of every module."""
        return [(b - a) * 1000 for a, b in zip(self._marks, self._marks[1:], strict=False)]


def time_frames(
    sessions: Mapping[str, Any],
    frames: Sequence[Mapping[str, np.ndarray]],
    given: SampleFrames,
    pipeline: Sequence[PipelineStep],
    protocol: Protocol,
    runner: str,
) -> EndToEnd:
    """Time frames through fresh sessions by module."""
    lane, turn, names = CpuLane(sessions), Turn(frames), list(sessions)
    lane.issue(turn.next())
    first_ms = lane.finish()
    runs = [one_in_flight(lane, turn, protocol) for _ in range(protocol.repetitions)]
    one = flight_of(runs, names, protocol.half_width)
    return EndToEnd(
        steps=tuple(steps_of(pipeline, names, one, "")),
        runner=runner,
        first_frames_ms=(first_ms,),
        one_in_flight=one,
        samples=given.samples,
        protocol=dataclasses.asdict(protocol),
        notes=(
            "one process for all runs; two frames in flight are not timed on a CPU",
            *doubts(one, "one frame in flight", protocol.half_width, protocol.agreement),
        ),
    )
