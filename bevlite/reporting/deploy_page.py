"""A deploy on one HTML page: nothing is loaded from a network, and both themes can be read."""

from __future__ import annotations

from pathlib import Path

import jinja2

from bevlite import __version__
from bevlite.config import write_atomic
from bevlite.devices.report.deploy import DeployReport, LimitRow
from bevlite.reporting import whole_frames

HEADLINES = {
    "pass": "every limit is met on a real board, by an accurate engine",
    "fail": "not ready: a limit is missed, or the engine is not accurate",
    "emulated": "a rehearsal on an emulated board: it proves nothing",
}


def figure(value: float | None) -> str:
    """Four digits, or that it is not known."""
    return "not known" if value is None else f"{value:.4g}"


def limit_text(row: LimitRow) -> str:
    """The limit with its sign."""
    sign, value = ("<=", row.at_most) if row.at_most is not None else (">=", row.at_least)
    return f"{sign} {figure(value)} {row.unit}".strip()


def headline(report: DeployReport) -> str:
    """The verdict in words."""
    return HEADLINES[report.verdict]


def write_deploy_page(path: Path, report: DeployReport) -> None:
    """Write the page of a deploy, whole or not at all."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters.update(figure=figure, limit=limit_text)
    whole = report.latency.end_to_end if report.latency is not None else None
    page = environment.get_template("deploy_page.html.j2").render(
        report=report,
        headline=headline(report),
        version=__version__,
        step_columns=whole_frames.STEP_COLUMNS,
        flight_columns=whole_frames.FLIGHT_COLUMNS,
        steps=whole_frames.step_rows(whole) if whole else (),
        flights=whole_frames.flight_rows(whole) if whole else (),
        sentences=whole_frames.sentences(whole) if whole else (),
    )
    write_atomic(path, page)
