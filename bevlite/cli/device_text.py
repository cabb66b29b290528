"""What `bevlite device` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bevlite.cli.frames_text import show_frames

if TYPE_CHECKING:
    from bevlite.devices.contract import Health
    from bevlite.devices.report.latency import LatencyReport

_WIDTH = 118


def show_health(health: Health) -> None:
    """Identity, conditions and problems of a device."""
    if health.emulated:
        typer.echo("EMULATED: what this board answers is never a measurement")
    for title, values in (("identity", health.identity), ("conditions", health.conditions)):
        if values:
            typer.echo(f"{title}:")
            _show_values(values)
    for problem in health.problems:
        typer.echo(f"problem ({problem.code}): {problem.message}")
        if problem.fix and problem.fix not in problem.message:
            typer.echo(f"  to mend it: {problem.fix}")
    if not health.problems:
        typer.echo("nothing speaks against measuring")


def show_report(report: LatencyReport) -> None:
    """The modules of a measured report as a table, the total, and every note."""
    console = Console(width=_WIDTH)
    columns = ("module", "median ms", "95 % interval", "P90", "P99", "no graph", "first", "J/frame", "layers")
    title = f"{report.device}: {report.kind}, {report.precision}, {_where(report)}"
    table = Table(*columns, title=escape(title))
    for row in report.modules:
        interval = f"{row.lower_ms:.3f} to {row.upper_ms:.3f}"
        if row.measured is None:
            table.add_row(escape(row.name), f"{row.latency_ms:.3f}", interval)
            continue
        found, timing = row.measured, row.measured.timing
        precisions = found.engine.precisions if found.engine else {}
        table.add_row(
            escape(row.name),
            f"{timing.p50_ms:.3f}",
            interval,
            f"{timing.p90_ms:.3f}",
            f"{timing.p99_ms:.3f}",
            f"{found.plain.p50_ms:.3f}" if found.plain and found.cuda_graph else "-",
            f"{found.first_frame_ms:.2f}" if found.first_frame_ms is not None else "-",
            f"{found.energy_j:.3f}" if found.energy_j is not None else "-",
            ", ".join(f"{count} {name or 'unknown'}" for name, count in precisions.items()) or "-",
        )
    console.print(table)
    what = "engines" if report.missing else "all"
    without = f"; not in it: {', '.join(report.missing)}" if report.missing else ""
    interval = f"[{report.lower_ms:.3f}, {report.upper_ms:.3f}]"
    console.print(f"total ({what}): {report.total_ms:.3f} ms {interval}{without}", markup=False, highlight=False)
    if report.end_to_end is not None:
        show_frames(console, report.end_to_end)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False)


def _where(report: LatencyReport) -> str:
    found = report.conditions
    runtime = found.runtime or f"TensorRT {found.tensorrt}"
    return ", ".join(part for part in (found.module, runtime, found.power_mode) if part)


def _show_values(values: Mapping[str, Any], indent: str = "  ") -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            typer.echo(f"{indent}{key}:")
            _show_values(value, indent + "  ")
        elif value not in (None, [], {}):
            shown = f"{value:.1f}" if isinstance(value, float) else value
            typer.echo(f"{indent}{key}: {shown}")
