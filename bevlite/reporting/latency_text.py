"""A latency report in the terminal: the total first, then where the time goes, then what TensorRT thinks of it."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bevlite.devices.report.latency import LatencyReport
from bevlite.reporting.latency_rows import flagged, gflops, megabytes, percent, ranked, summary_lines, tail
from bevlite.reporting.latency_support import WORDS, Support

COSTLIEST = 10
SUPPORT_ROWS = 12
NARROWEST_NAME = 16
COLUMN_GAP = 3


def show_latency(report: LatencyReport, support: Support, console: Console) -> None:
    """Print a report and what TensorRT would refuse or run wrongly."""
    console.print(headline(report), soft_wrap=True)
    console.print(_modules(report))
    console.print(_costliest(report, console.width))
    for line in summary_lines(report):
        console.print(escape(line), soft_wrap=True)
    show_support(support, console)
    for note in report.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)
    for step in report.pipeline:
        console.print(f"source of {step.name}: {escape(step.source)}", soft_wrap=True)


def headline(report: LatencyReport) -> str:
    """Total, interval, kind and conditions in one line (with rich's markup)."""
    conditions = report.conditions
    graph = "" if conditions.cuda_graph is None else f", CUDA graph {'on' if conditions.cuda_graph else 'off'}"
    return (
        f"[bold]{report.total_ms:.2f} ms[/bold] ({report.lower_ms:.2f} to {report.upper_ms:.2f} ms), "
        f"[bold]{report.kind}[/bold] for {escape(report.device)}, {report.precision}, {conditions.power_mode}, "
        f"TensorRT {conditions.tensorrt}{graph}" + (f", predictor {report.predictor}" if report.predictor else "")
    )


def show_support(support: Support, console: Console) -> None:
    """Print what TensorRT would refuse or run wrongly, one row a problem, worst first."""
    looked_at = ", ".join(support.versions)
    if not support.rows:
        console.print(f"TensorRT {looked_at}: nothing known speaks against it", soft_wrap=True)
        return
    table = _table("verdict", "TensorRT", "operator", "nodes", "why; what to do", title="What TensorRT would do")
    table.columns[3].justify = "right"
    for column in table.columns[:4]:
        column.no_wrap = True
    rows = [(verdict, row) for verdict in WORDS.values() for row in support.rows if row.versions(verdict)]
    for verdict, row in rows[:SUPPORT_ROWS]:
        why = escape(f"{row.reason}; {row.remedy}")
        table.add_row(verdict, row.versions(verdict), escape(row.op), str(len(row.nodes)), why)
    console.print(table)
    if len(rows) > SUPPORT_ROWS:
        console.print(f"... and {len(rows) - SUPPORT_ROWS} more rows; all of them with --html FILE")
    clean = ", ".join(support.clean) or "none of them"
    console.print(f"of TensorRT {looked_at}, nothing known speaks against: {clean}", soft_wrap=True)


def _modules(report: LatencyReport) -> Table:
    table = _table("module", "ms", "from", "to", "share", "kernels", "GFLOPs", title=f"Modules ({report.kind})")
    for row in report.modules:
        figures = [f"{v:.2f}" for v in (row.latency_ms, row.lower_ms, row.upper_ms)]
        work = (str(row.kernel_count), f"{row.gflops:.1f}")
        table.add_row(escape(row.name), *figures, percent(report.share(row.latency_ms)), *work)
    for step in report.pipeline:
        figures = [f"{v:.2f}" for v in (step.latency_ms, step.lower_ms, step.upper_ms)]
        table.add_row(step.label, *figures, percent(report.share(step.latency_ms)), "", "")
    _right(table, 1)
    return table


def _costliest(report: LatencyReport, width: int) -> Table:
    several = len(report.modules) > 1
    headers = ["module"] * several + ["kernel", "operator", "ms", "share", "GFLOPs", "MB", "bound by", "precision"]
    chosen = ranked(report)[:COSTLIEST]
    rows = []
    for placed in chosen:
        kernel = placed.kernel
        figures = [f"{kernel.latency_ms:.3f}", percent(kernel.share)]
        work = [gflops(kernel.flops), megabytes(kernel.traffic_bytes)]
        place = [placed.module] * several + [kernel.name, flagged(kernel)]
        rows.append([*place, *figures, *work, kernel.bound, kernel.precision])
    name = headers.index("kernel")
    # what the other columns leave, so that of a long name its end is seen and no figure is cut
    others = sum(max(len(cells[i]) for cells in (headers, *rows)) for i in range(len(headers)) if i != name)
    room = max(NARROWEST_NAME, width - others - COLUMN_GAP * (len(headers) + 1))
    table = _table(*headers, title=f"Costliest kernels ({report.kind})")
    for cells in rows:
        cells[name] = tail(cells[name], room)
        table.add_row(*(escape(cell) for cell in cells))
    if any(placed.kernel.note for placed in chosen):
        table.caption = "* its time is unsure, and widens the interval (see the notes)"
        table.caption_justify = "left"
    _right(table, name + 2, 4)
    return table


def _table(*columns: str, title: str) -> Table:
    return Table(*columns, title=title, box=SIMPLE_HEAD, title_justify="left")


def _right(table: Table, first: int, count: int | None = None) -> None:
    """Figures stand on the right, and are never broken."""
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[first : None if count is None else first + count]:
        column.justify = "right"
