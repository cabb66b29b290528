"""Whole frames by ONNX Runtime on the CPU: one after the other, no copies, no second frame in flight."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bevlite.agent.protocol.flights import Turn, one_in_flight
from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.devices.report.frame_results import SampleFrames, doubts, flight_of, state_notes, steps_of
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.devices.state import begins
from bevlite.latency.pipeline import PipelineStep


class Sample(NamedTuple):
    """What a frame takes from outside, and whether a new sequence begins."""

    tensors: Mapping[str, np.ndarray]
    begins: bool


class CpuLane:
    """The modules of a network, one after the other in this thread."""

    def __init__(self, chain: OnnxChain) -> None:
        self._chain = chain
        self._marks = [0.0]

    def issue(self, sample: Sample) -> None:
        """Run a whole frame."""
        known = self._chain.begin(sample.tensors, sample.begins)
        self._marks = [time.perf_counter()]
        for name in self._chain.names:
            self._chain.run(name, known)
            self._marks.append(time.perf_counter())
        self._chain.end(known)

    def finish(self) -> float:
        """Latency of the frame in ms."""
        return (self._marks[-1] - self._marks[0]) * 1000

    def parts_ms(self) -> list[float]:
        """Time of every module."""
        return [(b - a) * 1000 for a, b in zip(self._marks, self._marks[1:], strict=False)]


def time_frames(
    chain: OnnxChain,
    frames: Sequence[Mapping[str, np.ndarray]],
    given: SampleFrames,
    pipeline: Sequence[PipelineStep],
    protocol: Protocol,
    runner: str,
) -> WholeFrames:
    """Time frames through a chain that was just loaded."""
    samples = [Sample(frame, begins(number, given.starts)) for number, frame in enumerate(frames)]
    lane, turn, names = CpuLane(chain), Turn(samples), chain.names
    lane.issue(turn.next())
    first_ms = lane.finish()
    runs = [one_in_flight(lane, turn, protocol) for _ in range(protocol.repetitions)]
    one = flight_of(runs, names, protocol.half_width)
    return WholeFrames(
        steps=tuple(steps_of(pipeline, names, one, "")),
        runner=runner,
        first_frames_ms=(first_ms,),
        one_in_flight=one,
        samples=given.samples,
        protocol=dataclasses.asdict(protocol),
        notes=(
            "one process for all runs; two frames in flight are not timed on a CPU",
            *state_notes(given, two_in_flight=False),
            *doubts(one, "one frame in flight", protocol.half_width, protocol.agreement),
        ),
    )
