"""End to end in a latency report: frames through all engines of a network, and the steps that are not measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from bevlite.agent.protocol import statistics
from bevlite.config import Config
from bevlite.devices.report.timing import Amount, Milliseconds, Power, Timing

NO_KERNEL = "no kernel on the board yet: the samples are prepared on the host"
NO_DECODER = "no kernel on the board yet: the frame ends with the raw maps in host memory"


class Distribution(Config):
    """How a count is distributed over the samples."""

    minimum: Amount
    median: Amount
    p90: Amount
    maximum: Amount

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """Of at least one value; P90 by the protocol's rule."""
        p90 = statistics.percentile(values, 90)
        return cls(minimum=min(values), median=statistics.median(values), p90=p90, maximum=max(values))


class Samples(Config):
    """The frames that were used. `points` are those in the pillars of a sample, `pillars` its pillars with any."""

    count: int
    source: str
    real: bool
    points: Distribution | None = None
    pillars: Distribution | None = None


class Part(Config):
    """A part of the frame that was timed: on a GPU by its own events, on the CPU by the clock.

    With two in flight the GPU's work for the other frame lies between the events, too: such a part is how long the
    frame stayed in it, not what it costs.
    """

    name: str
    kind: Literal["copy", "engine"]
    timing: Timing


class Flight(Config):
    """Frames with one or two in flight.

    `timing` is the latency of a frame on the host's clock, from the start of the copies of its inputs to its outputs
    in host memory; `throughput_fps` what left the network a second. On a GPU reading the events of every frame is in
    that rate. `memory_mb` is what all of it took. `power` is missing where no sample fell into the measured window.
    """

    timing: Timing
    throughput_fps: Amount
    parts: tuple[Part, ...]
    power: Power | None = None
    memory_mb: Amount | None = None


class Step(Config):
    """One step of a frame. `latency_ms` is its median with one frame in flight; `why` says why it is missing."""

    name: str
    status: Literal["measured", "missing"]
    latency_ms: Milliseconds | None = None
    why: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Step:
        if (self.status == "measured") != (self.latency_ms is not None) or bool(self.why) != (self.status == "missing"):
            raise ValueError(f"{self.name}: accepted: measured with latency_ms, or missing with why")
        return self


class FrameConditions(Config):
    """Under what whole frames were timed. What is not known stays null."""

    power_mode: str | None = None
    gpu_clock_mhz: float | None = None
    clocks_locked: bool | None = None
    cpu_governor: str | None = None
    temperature_before_c: float | None = None
    temperature_after_c: float | None = None


class WholeFrames(Config):
    """All that was measured of whole frames. `why_not` says why there is nothing, and what mends it.

    `first_frames_ms` are those of every process, without warm-up. `difference_ms` is the median of one frame in flight
    minus the sum of the medians of its engines measured alone, which `difference` explains. `cuda_graphs` are the
    modules that were CUDA graphs in all that was timed. `engines` are the keys of the engines by module, `protocol` its
    figures.
    """

    steps: tuple[Step, ...]
    why_not: str = ""
    runner: str = ""
    cuda_graphs: tuple[str, ...] = ()
    first_frames_ms: tuple[Milliseconds, ...] = ()
    one_in_flight: Flight | None = None
    two_in_flight: Flight | None = None
    samples: Samples | None = None
    difference_ms: float | None = None
    difference: str = ""
    conditions: FrameConditions = FrameConditions()
    engines: dict[str, str] = {}
    command: tuple[str, ...] = ()
    protocol: dict[str, float | bool] = {}
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _told(self) -> WholeFrames:
        if (self.one_in_flight is None) != bool(self.why_not):
            raise ValueError("end_to_end: accepted: either one_in_flight or why_not")
        return self

    @property
    def first_frame_ms(self) -> float | None:
        """The median of the first frames."""
        return statistics.median(self.first_frames_ms) if self.first_frames_ms else None

    @property
    def missing(self) -> tuple[str, ...]:
        """Steps that are in no figure."""
        return tuple(step.name for step in self.steps if step.status == "missing")

    def beside(self, alone_ms: float, how: str) -> WholeFrames:
        """With the difference to the sum of the engines' medians measured alone; `how` says how those were."""
        if self.one_in_flight is None:
            return self
        timing, parts = self.one_in_flight.timing, self.one_in_flight.parts
        by_frame = zip(timing.samples_ms, *(part.timing.samples_ms for part in parts), strict=True)
        rest_ms = statistics.median([frame[0] - sum(frame[1:]) for frame in by_frame])
        copies_ms = sum(part.timing.p50_ms for part in parts if part.kind == "copy")
        engines_ms = sum(part.timing.p50_ms for part in parts if part.kind == "engine")
        gap_ms = timing.p50_ms - alone_ms
        words = (
            f"{abs(gap_ms):.3f} ms {'more' if gap_ms >= 0 else 'less'} than the sum of the engines' medians alone "
            f"({alone_ms:.3f} ms, {how}): copies {copies_ms:.3f} ms, engines in the chain {engines_ms:.3f} ms, "
            f"the rest {rest_ms:.3f} ms (host, waits between steps; medians, which need not add up)"
        )
        return self.model_copy(update={"difference_ms": gap_ms, "difference": words})
