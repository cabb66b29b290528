"""Whole frames on the command line."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.reporting.whole_frames import FLIGHT_COLUMNS, STEP_COLUMNS, flight_rows, sentences, step_rows


def show_frames(console: Console, found: WholeFrames) -> None:
    """Every step of a frame, one and two frames in flight, and what is to be said of them."""
    steps = Table(*STEP_COLUMNS, title="end to end")
    for row in step_rows(found):
        steps.add_row(*map(escape, row))
    console.print(steps)
    if rows := flight_rows(found):
        flights = Table(*FLIGHT_COLUMNS)
        for cells in rows:
            flights.add_row(*cells)
        console.print(flights)
    for line in sentences(found):
        console.print(line, markup=False, highlight=False)
