"""A deploy on one HTML page: the verdict, every limit as a bar, the plots, then all figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bevlite.config import write_atomic
from bevlite.devices.report.deploy import DeployReport, LimitRow
from bevlite.reporting import whole_frames
from bevlite.reporting.deploy_plots import plots_of
from bevlite.reporting.page import HERE, figure, render_page

HEADLINES = {
    "pass": "every limit is met on a real board, by an accurate engine",
    "fail": "not ready: a limit is missed, or the engine is not accurate",
    "emulated": "a rehearsal on an emulated board: it proves nothing",
}
ROOM = 1.25
"""How much longer than its limit a bar's ground is, so that what is over it can be seen."""


@dataclass(frozen=True)
class LimitBar:
    """A limit as a bar: what was found and where the limit stands, both in parts of the bar's ground (0..1)."""

    row: LimitRow
    limit: float
    found: float | None

    @classmethod
    def of(cls, row: LimitRow) -> LimitBar:
        """The ground reaches over the limit, and over what was found."""
        asked = row.at_most if row.at_most is not None else row.at_least or 0.0
        full = max(asked * ROOM, max(row.found or 0.0, 0.0) * 1.02) or 1.0
        found = None if row.found is None else min(1.0, max(row.found, 0.0) / full)
        return cls(row, asked / full, found)


def limit_text(row: LimitRow) -> str:
    """The limit with its sign."""
    sign, value = ("<=", row.at_most) if row.at_most is not None else (">=", row.at_least)
    return f"{sign} {figure(value)} {row.unit}".strip()


def found_text(row: LimitRow) -> str:
    """What was found, with its unit."""
    return figure(row.found) if row.found is None else f"{figure(row.found)} {row.unit}".strip()


def headline(report: DeployReport) -> str:
    """The verdict in words."""
    return HEADLINES[report.verdict]


def reasons(report: DeployReport) -> list[str]:
    """What the verdict stands on: the limits that are met and missed, and the engine."""
    missed = [row for row in report.limits if not row.met]
    met = len(report.limits) - len(missed)
    lines = [f"{met} of {len(report.limits)} limits met"]
    lines += [f"missed: {row.name}, {found_text(row)}, asked {limit_text(row)}" for row in missed]
    if report.engine.refused:
        return [*lines, f"engine refused: {report.engine.refused}"]
    golden = report.engine.golden
    if golden is None:
        return [*lines, "engine not compared with the network"]
    how = f"{golden.frames} golden frames against ONNX Runtime, run by {golden.runner}"
    return [*lines, f"engine {'accurate' if golden.good else 'NOT accurate'}: {how}"]


def write_deploy_page(path: Path, report: DeployReport) -> None:
    """Write the page of a deploy, whole or not at all."""
    from plotly.offline import get_plotlyjs

    plots = plots_of(report)
    whole = report.latency.end_to_end if report.latency is not None else None
    page = render_page(
        HERE / "deploy_page.html.j2",
        _facts(report),
        emulated=report.emulated,
        report=report,
        headline=headline(report),
        reasons=reasons(report),
        bars=[LimitBar.of(row) for row in report.limits],
        limit_text=limit_text,
        found_text=found_text,
        plots=plots,
        plotly_js=get_plotlyjs() if plots else "",
        step_columns=whole_frames.STEP_COLUMNS,
        flight_columns=whole_frames.FLIGHT_COLUMNS,
        steps=whole_frames.step_rows(whole) if whole else (),
        flights=whole_frames.flight_rows(whole) if whole else (),
        sentences=whole_frames.sentences(whole) if whole else (),
    )
    write_atomic(path, page)


def _facts(report: DeployReport) -> dict[str, object]:
    """Under what the figures hold."""
    conditions = report.latency.conditions if report.latency is not None else None
    clocks = {None: None, True: "locked", False: "not locked"}[conditions.clocks_locked if conditions else None]
    return {
        "data set": report.data or "none: made-up values",
        "device": f"{report.device} ({report.board.get('sku') or 'module not known'})",
        "power mode": report.board.get("power_mode") or "not known",
        "clocks": clocks,
        "precision": report.precision,
        "TensorRT": report.board.get("tensorrt") or "not known",
        "predictor": report.prediction.predictor if report.prediction is not None else None,
    }
