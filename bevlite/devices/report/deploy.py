"""The report of a deploy: every limit with what was found, and the verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from bevlite.config import Config, write_atomic
from bevlite.devices.golden.golden import GoldenCheck
from bevlite.devices.report.latency import Interval, LatencyReport

Verdict = Literal["pass", "fail", "emulated"]
_COURSE = {"power": {"course"}}
_TIMINGS = {"cuda_graph": {"samples_ms"}, "plain": {"samples_ms"}, "idle_power": {"course"}} | _COURSE
_FLIGHT = {"timing": {"samples_ms"}, "parts": {"__all__": {"timing": {"samples_ms"}}}} | _COURSE
_FRAMES = {"one_in_flight": _FLIGHT, "two_in_flight": _FLIGHT}
_SAMPLES: Any = {"latency": {"modules": {"__all__": {"measured": _TIMINGS}}, "end_to_end": _FRAMES}}
EXIT_CODES: dict[Verdict, int] = {"pass": 0, "fail": 1, "emulated": 3}


class Budgets(Config):
    """What the user allows; null where nothing is asked. `drop` is in NDS or mIoU (0..1)."""

    latency_ms: float
    fps: float | None = None
    power_w: float | None = None
    memory_mb: float | None = None
    drop: float | None = None


class LimitRow(Config):
    """One limit: what was asked, what was found (null: not known, which is not met), and what the figure is of."""

    name: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    found: float | None
    basis: str

    @model_validator(mode="after")
    def _one_sided(self) -> LimitRow:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.name}: accepted: either at_most or at_least")
        return self

    @property
    def met(self) -> bool:
        """Whether the limit is kept; a figure that is not known keeps none."""
        if self.found is None:
            return False
        if self.at_most is not None:
            return self.found <= self.at_most
        assert self.at_least is not None
        return self.found >= self.at_least


class Prediction(Interval):
    """What the predictor said of the engines, beside what was measured."""

    predictor: str
    measured_ms: float

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the predicted interval."""
        return self.lower_ms <= self.measured_ms <= self.upper_ms


class Accuracy(Config):
    """Figures of the engines and of torch over one split. `drops` is torch minus engine (NDS, mIoU; 0..1)."""

    split: str
    samples: int
    runner: str
    engine: dict[str, float]
    torch: dict[str, float]
    drops: dict[str, float]


class EngineVerdict(Config):
    """Whether the engines are what was asked, and compute what the files say. `refused` is why there is none."""

    golden: GoldenCheck | None = None
    precisions: dict[str, dict[str, int]] = {}
    refused: str = ""

    @property
    def accurate(self) -> bool:
        """An engine that was not compared is not known to be accurate."""
        return not self.refused and self.golden is not None and self.golden.good


class DeployReport(Config):
    """Everything that a deploy found. `data` are those of the run; `steps` says what was done and what an interrupted
    one had left."""

    run: str
    device: str
    data: str | None = None
    emulated: bool
    board: dict[str, Any]
    precision: str
    budgets: Budgets
    engine: EngineVerdict
    limits: tuple[LimitRow, ...]
    latency: LatencyReport | None = None
    prediction: Prediction | None = None
    accuracy: Accuracy | None = None
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """An emulated board proves nothing, whatever it says."""
        if self.emulated:
            return "emulated"
        return "pass" if self.all_met else "fail"

    @property
    def all_met(self) -> bool:
        """Every limit is met, and the engine is accurate."""
        return self.engine.accurate and bool(self.limits) and all(row.met for row in self.limits)

    def write(self, folder: Path) -> None:
        """Write `report.json` with the verdict, and every sample of the measurement apart, as `latency.json`."""
        data = self.model_dump(mode="json", exclude=_SAMPLES) | {"verdict": self.verdict, "all_met": self.all_met}
        data["limits"] = [row.model_dump(mode="json") | {"met": row.met} for row in self.limits]
        if self.latency is not None:
            self.latency.write(folder / "latency.json")
        write_atomic(folder / "report.json", json.dumps(data, indent=1) + "\n")
