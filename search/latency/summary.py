"""What tables, plots and limits need of a latency report, and what a study keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from bevlite.devices.report.latency import LatencyReport

Basis = Literal["", "engines", "whole"]
"""Of a measurement: the sum of engines measured apart, or the network as one engine."""
BASIS_WORDS = {"engines": "from its engines", "whole": "as a whole"}


@dataclass(frozen=True)
class LatencySummary:
    """Of a latency report what tables, plots and limits need. `missing` names steps that are not in the total.

    memory_mb: engines with their contexts; power_w: what draws most. None where nobody measured it, or predicts it.
    """

    kind: str
    total_ms: float
    lower_ms: float
    upper_ms: float
    modules: dict[str, float]
    pipeline: dict[str, float]
    basis: Basis = ""
    missing: tuple[str, ...] = ()
    memory_mb: float | None = None
    power_w: float | None = None

    @classmethod
    def of(cls, report: LatencyReport, basis: Basis = "") -> LatencySummary:
        """The summary of a report."""
        return cls(
            report.kind,
            report.total_ms,
            report.lower_ms,
            report.upper_ms,
            {row.name: row.latency_ms for row in report.modules},
            {row.name: row.latency_ms for row in report.pipeline},
            basis,
            report.missing,
            memory_of(report),
            power_of(report),
        )

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> LatencySummary:
        """From the storage, that of an older version as well."""
        return cls(**{**data, "missing": tuple(data.get("missing", ()))})

    @property
    def text(self) -> str:
        """`predicted 48.2 ms [40.1, 57.0]`: the kind is always said, and whether engines were summed."""
        words = f"{self.kind} {self.total_ms:.1f} ms [{self.lower_ms:.1f}, {self.upper_ms:.1f}]"
        return f"{words} {BASIS_WORDS[self.basis]}" if self.basis else words


def memory_of(report: LatencyReport) -> float | None:
    """MB of all engines with their contexts: as they were measured, else as they are predicted."""
    from bevlite.deploy.limits import measured_memory

    if report.kind != "predicted":
        return measured_memory([row.measured for row in report.modules if row.measured is not None])
    known = [row.memory_mb for row in report.modules if row.memory_mb is not None]
    return sum(known) if len(known) == len(report.modules) else None


def power_of(report: LatencyReport) -> float | None:
    """W of the module while the engine runs that draws most; None for a prediction."""
    from bevlite.deploy.limits import measured_power

    return measured_power([row.measured for row in report.modules if row.measured is not None])
