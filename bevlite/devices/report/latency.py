"""The latency report: what every device answers, whether it measured, predicted or emulated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bevlite.config import Config, validate, write_atomic
from bevlite.devices.report.timing import Amount, Measured, Milliseconds
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.errors import BevliteError

Kind = Literal["measured", "predicted", "emulated"]


class Interval(Config):
    """A latency and the interval in which it is believed to lie."""

    name: str
    latency_ms: Milliseconds
    lower_ms: Milliseconds
    upper_ms: Milliseconds

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if not self.lower_ms <= self.latency_ms <= self.upper_ms:
            raise ValueError(
                f"{self.name}: found {self.lower_ms} <= {self.latency_ms} <= {self.upper_ms} to be false; "
                "accepted: lower_ms <= latency_ms <= upper_ms"
            )
        return self


class Kernel(Config):
    """One kernel of a module: its time and what bounds it.

    `share` is of the report's total. `flops` counts the multiply-adds of products (two each); `traffic_bytes`
    is what the memory model charges, where a tensor that still lies in the cache counts less. The three parts
    of the time overlap, so they may sum to more than `latency_ms`.
    """

    name: str
    op: str
    latency_ms: Milliseconds
    bound: Literal["compute", "memory", "launch"]
    precision: str
    note: str = ""
    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    flops: Amount = 0.0
    traffic_bytes: Amount = 0.0
    compute_ms: Milliseconds = 0.0
    memory_ms: Milliseconds = 0.0
    launch_ms: Milliseconds = 0.0


class ModuleRow(Interval):
    """One engine: its latency without transfers, and its kernels where they are predicted.

    `kernels` stand costliest first: all `kernel_count` of them, or as many as the device was asked to keep. Of a
    measured module `latency_ms` is the median, and the interval that of the median; `measured` holds all the rest.
    `memory_mb` is that of weights and activations where it is predicted; of a measurement see `measured`.
    """

    identity: str = ""
    kernel_count: int = 0
    gflops: Amount = 0.0
    memory_mb: Amount | None = None
    kernels: tuple[Kernel, ...] = ()
    measured: Measured | None = None


class PipelineRow(Interval):
    """One step outside the engines, with the source of its figure: published for a board, or our own estimate."""

    source: str
    published: bool = True

    @property
    def kind(self) -> str:
        """Where its figure comes from, as one word."""
        return "published" if self.published else "estimated"

    @property
    def label(self) -> str:
        """Its name, with where its figure comes from."""
        return f"{self.name} ({self.kind})"


class Conditions(Config):
    """Under what the figures hold. What is not known stays null."""

    power_mode: str | None = None
    tensorrt: str | None = None
    jetpack: str | None = None
    clocks_locked: bool | None = None
    temperature_c: float | None = None
    cuda_graph: bool | None = None
    module: str | None = None
    l4t: str | None = None
    cuda: str | None = None
    driver: str | None = None
    runtime: str | None = None
    dla_cores: int | None = None
    gpu_clock_mhz: float | None = None
    cpu_governor: str | None = None
    emulated: bool = False


class Ceilings(Config):
    """What the device can do at best under the conditions: the roofs of a roofline plot.

    `tensor_tflops` is by precision (matrix products on tensor cores), in 1e12 operations a second. `launch_us` is what
    one launch is charged.
    """

    tensor_tflops: dict[str, Amount]
    fma_fp32_tflops: Amount
    memory_gb_per_s: Amount
    launch_us: Amount


class LatencyReport(Config):
    """End-to-end latency of a network on a device: preprocessing, engines, decoding, one after the other.

    Of a measurement `total_ms` is the sum of the medians of the engines; `missing` names the steps around them that
    were not measured and are not in it. `end_to_end` holds whole frames through all engines, where they were timed.
    """

    kind: Kind
    device: str
    precision: str
    conditions: Conditions = Conditions()
    predictor: str | None = None
    ceilings: Ceilings | None = None
    modules: tuple[ModuleRow, ...]
    pipeline: tuple[PipelineRow, ...] = ()
    total_ms: Milliseconds
    lower_ms: Milliseconds
    upper_ms: Milliseconds
    notes: tuple[str, ...] = ()
    samples_ms: tuple[Milliseconds, ...] | None = None
    missing: tuple[str, ...] = ()
    end_to_end: WholeFrames | None = None

    @model_validator(mode="after")
    def _honest(self) -> LatencyReport:
        """A prediction names its predictor and has no samples; a measurement the reverse; an emulation says so."""
        sampled = bool(self.samples_ms) or (self.modules and all(row.measured for row in self.modules))
        if self.kind == "predicted" and (self.predictor is None or self.samples_ms):
            raise ValueError("kind: found 'predicted' without predictor or with samples_ms")
        if self.kind == "predicted" and self.end_to_end is not None:
            raise ValueError("end_to_end: found in a predicted report; whole frames are measured or not there")
        if self.conditions.emulated != (self.kind == "emulated"):
            raise ValueError(f"kind: found '{self.kind}' with conditions.emulated {self.conditions.emulated}")
        if self.kind == "measured" and (self.predictor is not None or not sampled):
            raise ValueError("kind: found 'measured' with predictor or without samples_ms")
        if not self.lower_ms <= self.total_ms <= self.upper_ms:
            raise ValueError("total_ms: found outside lower_ms to upper_ms; accepted: inside")
        return self

    def share(self, ms: float) -> float:
        """What part of the whole latency a time is (0..1): the one denominator of every share that is shown."""
        return ms / self.total_ms if self.total_ms else 0.0

    @property
    def steps_ms(self) -> float:
        """What the steps around the engines take of the total."""
        return sum(step.latency_ms for step in self.pipeline)

    def require_measured(self) -> LatencyReport:
        """The report itself if it was measured; raises BevliteError if predicted or emulated."""
        if self.kind != "measured":
            raise BevliteError(f"{self.device}: found a {self.kind} latency report; accepted: a measured one")
        return self

    def with_whole_frames(self, found: WholeFrames) -> LatencyReport:
        """The report with whole frames, set beside the sum of its engines."""
        how = "with CUDA graphs, without copies" if self.conditions.cuda_graph else "without copies"
        notes = (*self.notes, *(f"end to end: {note}" for note in found.notes))
        return self.model_copy(update={"end_to_end": found.beside(self.total_ms, how), "notes": notes})

    def write(self, path: Path | str) -> None:
        """Write as JSON, whole or not at all."""
        write_atomic(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path | str) -> LatencyReport:
        """Read a report (raises BevliteError when the file is missing or is no report)."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BevliteError(f"{path}: no such file; accepted: a latency report (JSON)") from None
        except (OSError, ValueError) as error:
            raise BevliteError(f"{path}: not a latency report ({error})") from None
        if not isinstance(data, dict):
            raise BevliteError(f"{path}: not a latency report (no mapping at the top)")
        return validate(data, cls, str(path))
