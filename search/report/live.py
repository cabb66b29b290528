"""A search as it runs, on a terminal: what was spent and found, what is worked on, what is to be expected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bevlite.errors import BevliteError
from bevlite.reporting.progress import Pulse
from search.model.improvement import hypervolume
from search.report.tables import latency_text
from search.report.words import best_line, spent_words
from search.study.records import TrialRecord, spent
from search.study.view import StudyView, load_study
from search.terminal import Say, speaker

EVERY_S = 2.0
"""Between two looks at the study."""
BEST = 5
"""Networks of the front that are shown."""


def overview(view: StudyView) -> RenderableType:
    """A few lines and a table: the front, what runs and what waits."""
    outcome, label = view.outcome, view.label
    table = Table(show_edge=False, header_style="bold", pad_edge=False)
    for name in ("trial", "state", "epochs", label, "latency", "gain", "choices"):
        table.add_column(name, no_wrap=name != "choices")
    front = sorted(outcome.pareto, key=lambda record: -(record.accuracy or 0.0))[:BEST]
    at_work = [record for record in outcome.records if record.state == "running"]
    waiting = [record for record in outcome.records if record.state == "paused"]
    waiting.sort(key=lambda record: -(record.last_accuracy or 0.0))
    for record in (*front, *at_work, *waiting[:BEST]):
        table.add_row(*_cells(record, front))
    if len(waiting) > BEST:
        table.add_row("", f"and {len(waiting) - BEST} more wait")
    return Group(*(Text(line) for line in lines(view)), table)


def lines(view: StudyView) -> list[str]:
    """What was spent, found and is to be expected, and how long it may take."""
    outcome = view.outcome
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items()) or "no trials yet"
    points = [(record.accuracy or 0.0, record.latency_ms or 0.0) for record in outcome.pareto]
    area = hypervolume(points, outcome.budget_ms, 0.0) / outcome.budget_ms
    found = [f"{spent_words(view)} ({counts})"]
    gains = [record.gain for record in outcome.records if record.gain is not None]
    expected = f"; the last proposal was expected to add {gains[-1]:.2g}" if gains else ""
    found.append(f"front: {len(points)} networks, {view.label} {area:.4f} on average over the budget{expected}")
    if (left_s := seconds_left(view)) is not None:
        found.append(f"about {_duration(left_s)} of training left, as it went so far")
    found.append(best_line(view).splitlines()[0])
    return found


def working_line(view: StudyView) -> str:
    """What is worked on and how long it may take, in a line."""
    config, records = view.config, view.outcome.records
    running = [
        f"trial {record.number} after epoch {record.last_epoch} of {config.fidelity.epochs}"
        for record in records
        if record.state == "running"
    ]
    left_s = seconds_left(view)
    left = [f"about {_duration(left_s)} of training left, as it went so far"] if left_s is not None else []
    return "; ".join((spent_words(view), ", ".join(running) or "no trial under way", *left))


def seconds_left(view: StudyView) -> float | None:
    """Of training, until what may be spent is, from what an epoch took so far and how many train; None: unknown."""
    config, records = view.config, view.outcome.records
    epochs = spent(records, config.fidelity.rungs)
    seconds = sum(record.seconds for record in records)
    if not epochs or not seconds:
        return None
    at_work = max(1, sum(record.state == "running" for record in records))
    left = max(0, config.trials * config.fidelity.epochs - epochs)
    return left * seconds / epochs / at_work


@contextmanager
def watching(folder: Path, console: Console) -> Iterator[Callable[[Say], Say]]:
    """Keep the overview of a study at the end of a terminal, below what is said.

    In a log there is a line where nothing else was said for half a minute; what is said goes through what is yielded.
    """
    if not console.is_terminal:
        with Pulse(lambda: working_line(load_study(folder)), speaker(console)) as pulse:
            yield lambda say: _heard_by(pulse, say)
        return
    looked: list[tuple[float, RenderableType]] = [(0.0, Text(""))]

    def look() -> RenderableType:
        if time.monotonic() - looked[0][0] > EVERY_S:
            looked[0] = (time.monotonic(), seen(folder))
        return looked[0][1]

    with Live(get_renderable=look, console=console, refresh_per_second=1, transient=True, redirect_stderr=False):
        yield lambda say: say


def _heard_by(pulse: Pulse, say: Say) -> Say:
    def told(text: str) -> None:
        pulse.beat()
        say(text)

    return told


def seen(folder: Path) -> RenderableType:
    """The overview of a study as it is now, or why there is none."""
    try:
        return overview(load_study(folder))
    except Exception as error:  # only being made, or its database is away: the search itself says what it is
        text = str(error) if isinstance(error, BevliteError) else type(error).__name__
        return Text(text, style="dim")


def _cells(record: TrialRecord, front: list[TrialRecord]) -> list[str]:
    state = "front" if record in front else record.state
    accuracy = record.accuracy if record.accuracy is not None else record.last_accuracy
    return [
        str(record.number),
        state,
        f"{record.last_epoch}/{record.full_epochs}",
        f"{accuracy:.4f}" if accuracy is not None else "",
        latency_text(record),
        f"{record.gain:.2g}" if record.gain is not None else "",
        escape(record.params_text),
    ]


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(1, minutes)} min"
