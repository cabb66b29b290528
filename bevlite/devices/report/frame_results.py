"""Whole frames through a device: what it is given, and what its answer amounts to."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from bevlite.agent.protocol.protocol import Protocol as Figures
from bevlite.devices.contract import Inputs, Precision
from bevlite.devices.report.timing import Power, Timing
from bevlite.devices.report.whole_frames import (
    NO_DECODER,
    NO_KERNEL,
    Flight,
    FrameConditions,
    Part,
    Samples,
    Step,
    WholeFrames,
)
from bevlite.devices.state import Feeds, begins
from bevlite.latency.pipeline import PipelineStep

COPY_IN, COPY_OUT = "copy in", "copy out"
AFTER_THE_ENGINES = ("decoding",)


@dataclass(frozen=True)
class SampleFrames:
    """What each frame takes from outside, and where the frames come from.

    `feeds` is the network's state (an input: the output of the frame before that it takes), `starts` the numbers of
    the frames that begin a sequence. After the last frame comes the first again, which always begins one.
    """

    frames: tuple[Inputs, ...]
    samples: Samples
    feeds: Feeds = field(default_factory=dict)
    starts: Collection[int] = ()


@runtime_checkable
class FramesDevice(Protocol):
    """A device that times whole frames."""

    def time_frames(
        self,
        modules: Mapping[str, Path],
        given: SampleFrames,
        pipeline: Iterable[PipelineStep] = (),
        precision: Precision = "fp16",
    ) -> WholeFrames:
        """Time sample frames through the modules of a network, in their order of execution.

        Raises:
            BevliteError: with one line that says what is wrong.
        """


def flight_of(
    runs: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    half_width: float,
    power: Mapping[str, Any] | None = None,
    memory_mb: float | None = None,
) -> Flight:
    """From runs with `latency_ms`, `parts_ms` in the order of `names`, and `seconds`."""
    frames, seconds = sum(len(run["latency_ms"]) for run in runs), sum(run["seconds"] for run in runs)
    return Flight(
        timing=Timing.of_runs([run["latency_ms"] for run in runs], half_width),
        throughput_fps=frames / seconds,
        parts=tuple(
            Part(
                name=name,
                kind="copy" if name in (COPY_IN, COPY_OUT) else "engine",
                timing=Timing.of_runs([run["parts_ms"][place] for run in runs], half_width),
            )
            for place, name in enumerate(names)
        ),
        power=None if power is None else Power.model_validate(power),
        memory_mb=memory_mb,
    )


def steps_of(pipeline: Iterable[PipelineStep], names: Sequence[str], flight: Flight | None, why: str) -> list[Step]:
    """All steps of a frame in their order; `why` is why none of the engines was timed."""
    around = [step.name for step in pipeline]
    before = [Step(name=n, status="missing", why=NO_KERNEL) for n in around if n not in AFTER_THE_ENGINES]
    after = [Step(name=n, status="missing", why=NO_DECODER) for n in around if n in AFTER_THE_ENGINES]
    if flight is None:
        return [*before, *(Step(name=name, status="missing", why=why) for name in names), *after]
    timed = [Step(name=part.name, status="measured", latency_ms=part.timing.p50_ms) for part in flight.parts]
    return [*before, *timed, *after]


def not_measured(
    why: str, modules: Iterable[str], pipeline: Iterable[PipelineStep] = (), samples: Samples | None = None
) -> WholeFrames:
    """Whole frames were not timed; `why` with what mends it."""
    return WholeFrames(steps=tuple(steps_of(pipeline, list(modules), None, why)), why_not=why, samples=samples)


def of_answer(
    answer: Mapping[str, Any],
    modules: Sequence[str],
    given: SampleFrames,
    pipeline: Sequence[PipelineStep],
    protocol: Figures,
) -> WholeFrames:
    """From the answer of the agent's `time_frames` job."""
    half_width, agreement = protocol.half_width, protocol.agreement
    if answer["why_not"] is not None:
        return not_measured(answer["why_not"], modules, pipeline, given.samples)
    runs, names = answer["runs"], [COPY_IN, *modules, COPY_OUT]
    power, memory_mb = answer["power"], max(run["memory_mb"] for run in runs)
    one = flight_of([run["one"] for run in runs], names, half_width, power["one"], memory_mb)
    two, whys = None, [run["why_not_two"] for run in runs if run["two"] is None]
    if not whys:
        memory_mb = max(run["memory_two_mb"] for run in runs)
        two = flight_of([run["two"] for run in runs], names, half_width, power["two"], memory_mb)
    captured, refused = _graphs(runs, modules)
    broken = sorted({name for run in runs for name in run["not_finite"]})
    notes = [
        *answer["notes"],
        *state_notes(given, two_in_flight=two is not None),
        *refused,
        *(f"two frames in flight are not timed: {why}" for why in whys[:1]),
        *(f"output '{name}' is not finite" for name in broken),
        *doubts(one, "one frame in flight", half_width, agreement),
        *(doubts(two, "two frames in flight", half_width, agreement) if two is not None else []),
    ]
    return WholeFrames(
        steps=tuple(steps_of(pipeline, modules, one, "")),
        runner=f"tensorrt python {runs[-1]['tensorrt']}",
        cuda_graphs=tuple(captured),
        first_frames_ms=tuple(run["first_ms"] for run in runs),
        one_in_flight=one,
        two_in_flight=two,
        samples=given.samples,
        conditions=_conditions(answer["conditions"], answer["conditions_after"]),
        engines={name: facts["key"] for name, facts in answer["engines"].items()},
        command=tuple(answer["command"]),
        protocol=dataclasses.asdict(protocol),
        notes=tuple(notes),
    )


def state_notes(given: SampleFrames, *, two_in_flight: bool) -> list[str]:
    """What a report must say of a network with state."""
    if not given.feeds:
        return []
    fed = ", ".join(f"{name} takes {source}" for name, source in given.feeds.items())
    count = sum(begins(number, given.starts) for number in range(len(given.frames)))
    notes = [
        f"state stays on the device ({fed} of the frame before; zeros at {count} of {len(given.frames)} samples): "
        "its copy counts in the part of the engine that takes it"
    ]
    if two_in_flight:
        notes.append("two frames in flight: what takes state waits for the frame before, in the order of the frames")
    return notes


def _graphs(runs: Sequence[Mapping[str, Any]], modules: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules that were CUDA graphs in every lane of every run, and a note for each of the others."""
    lanes = [run[lane] for run in runs for lane in ("captured", "captured_two") if run[lane] is not None]
    captured, notes = [], []
    for name, done in zip(modules, zip(*lanes, strict=True), strict=True):
        if all(done):
            captured.append(name)
        elif any(done):
            count = f"{done.count(False)} of {len(done)} times"
            notes.append(f"{name}: CUDA graph refused {count}: latencies with and without one are mixed")
        else:
            notes.append(f"{name}: CUDA graph refused: enqueued without one in the chain")
    return captured, notes


def _conditions(before: Mapping[str, Any], after: Mapping[str, Any]) -> FrameConditions:
    return FrameConditions(
        power_mode=before["power_mode"],
        gpu_clock_mhz=before["gpu_clock_mhz"],
        clocks_locked=before["clocks_locked"],
        cpu_governor=before["cpu_governor"],
        temperature_before_c=before["temperature_c"],
        temperature_after_c=after["temperature_c"],
    )


def doubts(flight: Flight, title: str, half_width: float, agreement: float) -> list[str]:
    """What the protocol asks for in vain."""
    timing, found = flight.timing, []
    if not timing.converged:
        width = (timing.upper_ms - timing.lower_ms) / 2 / timing.p50_ms if timing.p50_ms else 1.0
        found.append(f"{title}: the 95 % interval of the median is +-{width:.1%} (accepted: {half_width:.0%})")
    if timing.spread > agreement:
        found.append(f"{title}: repeated runs disagree by {timing.spread:.1%} (accepted: {agreement:.0%})")
    return found
