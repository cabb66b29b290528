"""What `bevlite deploy` and `bevlite device check-engine` print."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bevlite.cli.frames_text import show_frames
from bevlite.devices.golden.golden import GoldenCheck
from bevlite.devices.report.deploy import DeployReport
from bevlite.reporting.deploy_page import headline, limit_text
from bevlite.reporting.page import figure

_WIDTH = 118


def show_deploy(report: DeployReport) -> None:
    """The verdict, every limit, and the engine."""
    console = Console(width=_WIDTH)
    table = Table("limit", "asked", "found", "met", "the figure is", title=escape(f"{report.run} on {report.device}"))
    for row in report.limits:
        met = "yes" if row.met else "[bold red]no[/bold red]"
        table.add_row(row.name, limit_text(row), figure(row.found), met, escape(row.basis))
    console.print(table)
    if report.engine.refused:
        console.print(f"engine refused: {report.engine.refused}", markup=False)
    if report.engine.golden is not None:
        show_golden(report.engine.golden)
    found = report.prediction
    if found is not None:
        where = "inside" if found.inside else "outside"
        console.print(
            f"predicted {found.latency_ms:.3f} ms ({found.lower_ms:.3f} to {found.upper_ms:.3f} ms), "
            f"found {found.measured_ms:.3f} ms: {where} the interval",
            markup=False,
            highlight=False,
        )
    if report.latency is not None and report.latency.end_to_end is not None:
        show_frames(console, report.latency.end_to_end)
    for note in (*report.steps, *report.notes):
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print(f"[bold]{report.verdict}[/bold]: {escape(headline(report))}")


def show_golden(check: GoldenCheck) -> None:
    """Every tensor that was compared, and the first bad layer."""
    console = Console(width=_WIDTH)
    columns = ("tensor", "module", "largest", "mean", "relative", "cosine", "not finite", "saturated", "good")
    table = Table(*columns, title=escape(f"engine against ONNX Runtime: {check.frames} frames, {check.source}"))
    for row in check.outputs:
        table.add_row(
            escape(row.name),
            escape(row.module),
            figure(row.largest),
            figure(row.mean),
            f"{figure(row.relative)} (<= {row.limit:g})",
            "-" if row.cosine is None else f"{row.cosine:.6f}",
            f"{row.not_finite:.2%}",
            f"{row.saturated:.2%}",
            "yes" if row.good else "[bold red]no[/bold red]",
        )
    console.print(table)
    bad = check.first_bad
    if bad is not None:
        console.print(f"first bad layer: {bad.node} ({bad.op}) in {bad.module}", markup=False)
    elif not check.good:
        console.print("no single layer is bad with good inputs: small differences add up, or a fusion is at fault")
    for note in check.notes:
        console.print(f"note: {note}", markup=False)
