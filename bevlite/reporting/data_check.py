"""A check of a data root in the terminal: counts, classes, and the problems."""

from __future__ import annotations

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bevlite.data.check import CheckReport

SHOWN = 50
COLOURS = {"error": "red", "warning": "yellow"}


def show_check(report: CheckReport, console: Console) -> None:
    """Print a report; of the problems at most `SHOWN`, errors first."""
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in report.counts.items())
    splits = ", ".join(f"{name} {count}" for name, count in report.samples_of_split.items())
    console.print(f"[bold]{escape(report.root)}[/bold] {report.version}: {counts}")
    console.print(f"samples of splits: {splits or 'no official split of this version'}")
    table = Table("class", "boxes", "no points", "median", "mean l x w x h (m)", box=SIMPLE_HEAD)
    for column in table.columns:
        column.no_wrap = True
        column.justify = "left" if column.header == "class" else "right"
    for name, found in report.classes.items():
        sizes = (found.length_m, found.width_m, found.height_m)
        size = " x ".join(f"{v:.2f}" for v in sizes if v is not None) or "-"
        median = "-" if found.median_points is None else f"{found.median_points:g}"
        table.add_row(name, str(found.boxes), str(found.without_points), median, size)
    console.print(table)
    for problem in report.problems[:SHOWN]:
        label = f"[{COLOURS[problem.severity]}]{problem.severity}[/]"
        console.print(f"{label} {problem.kind}: {escape(problem.where)}: {escape(problem.text)}")
    if len(report.problems) > SHOWN:
        kinds = Counter(problem.kind for problem in report.problems[SHOWN:])
        rest = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        console.print(f"... and {len(report.problems) - SHOWN} more ({rest}); all of them with --json FILE")
    how = "existence and sizes only" if report.quick else "every file read"
    total = f"{_many(report.errors, 'error')}, {_many(report.warnings, 'warning')}"
    console.print(f"{total} ({how}, {report.seconds:.1f} s)")


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
