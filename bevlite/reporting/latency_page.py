"""A latency report as one HTML page: nothing is loaded from a network, and both themes can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.config import write_atomic
from bevlite.devices.report.latency import LatencyReport
from bevlite.reporting.latency_plots import bandwidth, roofline
from bevlite.reporting.latency_rows import (
    BOUNDS,
    Sum,
    flagged,
    gflops,
    kernels_text,
    launching,
    megabytes,
    ranked,
    sum_of,
    sums_by_kind,
)
from bevlite.reporting.latency_support import Support
from bevlite.reporting.page import HERE, render_page

if TYPE_CHECKING:
    from bevlite.latency.gpu.quantization import Int8Findings

COSTLIEST = 10


@dataclass(frozen=True)
class Bar:
    """One bar: parts (class, ms) from the left, and the interval (ms) where there is one."""

    name: str
    note: str
    latency_ms: float
    parts: tuple[tuple[str, float], ...]
    interval: tuple[float, float] | None = None


def write_page(
    path: Path | str,
    report: LatencyReport,
    support: Support,
    title: str,
    int8: Mapping[str, Int8Findings] | None = None,
) -> None:
    """Write the page of a report, whole or not at all."""
    write_atomic(path, latency_page(report, support, title, int8))


def latency_page(
    report: LatencyReport, support: Support, title: str, int8: Mapping[str, Int8Findings] | None = None
) -> str:
    """The page as text; `title` says which network it is, `int8` what INT8 does to its modules."""
    kernels = ranked(report)
    plots = {}
    if report.ceilings is not None:
        plots = {"roofline": roofline(kernels, report.ceilings), "bandwidth": bandwidth(kernels, report.ceilings)}
    return render_page(
        HERE / "latency_page.html.j2",
        facts_of(report),
        emulated=report.kind == "emulated",
        title=title,
        report=report,
        support=support,
        int8_rows=[(name, row) for name, found in (int8 or {}).items() for row in found.rows],
        kernels=kernels,
        costliest=COSTLIEST,
        module_bars=_module_bars(report),
        kind_bars=_kind_bars(sums_by_kind(placed.kernel for placed in kernels)),
        all_kernels=sum_of("", (placed.kernel for placed in kernels)),
        launching=launching(report),
        plots=plots,
        bounds=BOUNDS,
        identities={row.name: row.identity for row in report.modules if row.identity},
        flagged=flagged,
        gflops=gflops,
        megabytes=megabytes,
    )


def facts_of(report: LatencyReport) -> dict[str, object]:
    """Under what the figures of a report hold."""
    conditions = report.conditions
    return {
        "device": report.device,
        "power mode": conditions.power_mode or "not known",
        "precision": report.precision,
        "TensorRT": conditions.tensorrt or "not known",
        "CUDA graph": {None: None, True: "on", False: "off"}[conditions.cuda_graph],
        "predictor": report.predictor or f"none: {report.kind}",
    }


def scale_of(bars: Sequence[Bar]) -> float:
    """Milliseconds of a full bar: the longest bar, or the far end of its interval."""
    return max((max(bar.latency_ms, *(bar.interval or (0.0,))) for bar in bars), default=0.0) or 1.0


def _module_bars(report: LatencyReport) -> tuple[list[Bar], float]:
    bars = []
    for row in report.modules:
        parts = tuple(sum_of(row.name, row.kernels).ms_by_bound.items())
        bars.append(Bar(row.name, kernels_text(row.kernel_count), row.latency_ms, parts, (row.lower_ms, row.upper_ms)))
    for step in report.pipeline:
        parts = (("published", step.latency_ms),)
        bars.append(Bar(step.name, f"{step.kind} figure", step.latency_ms, parts, (step.lower_ms, step.upper_ms)))
    return bars, scale_of(bars)


def _kind_bars(sums: Sequence[Sum]) -> tuple[list[Bar], float]:
    bars = [Bar(row.name, kernels_text(row.count), row.latency_ms, tuple(row.ms_by_bound.items())) for row in sums]
    return bars, scale_of(bars)
