"""The parts of a measured module in a latency report: timings, engine, layers, power."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bevlite.agent.protocol import statistics
from bevlite.config import Config

Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Timing(Config):
    """Latencies of one way of running a module, without transfers, in ms: every sample, and what they amount to.

    `lower_ms` to `upper_ms` is the 95 % confidence interval of the median, from order statistics. `converged` says
    whether half of it is within the limit of the protocol; `run_medians_ms` are the medians of the repeated runs.
    """

    p50_ms: Milliseconds
    p90_ms: Milliseconds
    p95_ms: Milliseconds
    p99_ms: Milliseconds
    lower_ms: Milliseconds
    upper_ms: Milliseconds
    converged: bool
    run_medians_ms: tuple[Milliseconds, ...]
    spread: Amount
    samples_ms: tuple[Milliseconds, ...]

    @model_validator(mode="after")
    def _of_its_samples(self) -> Timing:
        if not self.samples_ms or not self.lower_ms <= self.p50_ms <= self.upper_ms:
            raise ValueError("timing: found no samples, or a median outside its interval")
        return self

    @classmethod
    def of_runs(cls, runs: list[list[float]], half_width: float) -> Timing:
        """From the samples of repeated runs; `half_width` is what half the interval may be of the median."""
        samples = [value for run in runs for value in run]
        lower, upper = statistics.median_interval(samples)
        medians = [statistics.median(run) for run in runs]
        return cls(
            **{f"{name}_ms": value for name, value in statistics.percentiles(samples).items()},
            lower_ms=lower,
            upper_ms=upper,
            converged=statistics.half_width(samples) <= half_width,
            run_medians_ms=tuple(medians),
            spread=statistics.spread(medians),
            samples_ms=tuple(samples),
        )


class LayerTime(Config):
    """One layer of the engine in a separate profiled run: its time is not to be added up to a latency."""

    name: str
    latency_ms: Milliseconds
    kind: str = ""
    precision: str = ""
    module: str = ""
    nodes: tuple[str, ...] = ()
    on_dla: bool = False


class EngineFacts(Config):
    """The engine that was measured. `precisions` counts its layers as they were read back from it."""

    key: str
    size_mb: Amount
    build_s: Amount
    cached: bool
    precisions: dict[str, int]
    dla_layers: tuple[str, ...] = ()
    dla_fallbacks: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Rail(Config):
    """One power rail in the measured window, in W, and what hangs on it."""

    name: str
    mean_w: Amount
    max_w: Amount
    covers: str


class Course(Config):
    """How a board stood while it was timed, sample by sample: `at_s` on its monotonic clock, null what is not known."""

    at_s: tuple[float, ...]
    module_w: tuple[Amount | None, ...]
    temperature_c: tuple[float | None, ...]
    gpu_mhz: tuple[Amount | None, ...]

    @model_validator(mode="after")
    def _alike(self) -> Course:
        if len({len(self.at_s), len(self.module_w), len(self.temperature_c), len(self.gpu_mhz)}) > 1:
            raise ValueError("course: found lists of different lengths; accepted: a value a sample in each")
        return self


class Power(Config):
    """Power while the engine ran. `module_w` is null where the rails do not allow an estimate."""

    source: str
    samples: int
    rails: tuple[Rail, ...]
    module_w: Amount | None = None
    module_of: str = ""
    missing: str = ""
    course: Course | None = None


class Measured(Config):
    """All that was measured of one module. `cuda_graph` is null where the engine refuses one or none was asked."""

    cuda_graph: Timing | None = None
    plain: Timing | None = None
    h2d_ms: Milliseconds | None = None
    d2h_ms: Milliseconds | None = None
    first_frame_ms: Milliseconds | None = None
    throughput_qps: Amount | None = None
    memory_mb: Amount | None = None
    energy_j: Amount | None = None
    power: Power | None = None
    idle_power: Power | None = None
    engine: EngineFacts | None = None
    layers: tuple[LayerTime, ...] = ()
    temperature_before_c: float | None = None
    temperature_after_c: float | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _timed(self) -> Measured:
        if self.cuda_graph is None and self.plain is None:
            raise ValueError("measured: found neither a timing with a CUDA graph nor one without")
        return self

    @property
    def timing(self) -> Timing:
        """The one that counts: with a CUDA graph where there is one."""
        found = self.cuda_graph or self.plain
        assert found is not None
        return found
