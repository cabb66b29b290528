"""Progress of long work, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

_now: list[tuple[str, float]] = []
"""What was said last, and when; nothing before the first word of a command."""


def say(text: str) -> None:
    """One line on standard error."""
    typer.echo(f"  {text}", err=True)
    noted(text)


def noted(text: str) -> None:
    """Something was said elsewhere than by `say`."""
    from bevlite.reporting.progress import Pulse

    _now[:] = [(text, time.monotonic())]
    Pulse.heard()


def news() -> Callable[[str], None]:
    """`say` without what it has said before: hundreds of batches go through the same phases."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return once


@contextmanager
def said_again() -> Iterator[None]:
    """While a command runs: in a log, what it said last is said again where nothing else was for half a minute.

    On a terminal nothing is said twice.
    """
    from bevlite.reporting.progress import Pulse, duration

    _now.clear()
    if sys.stderr.isatty():
        yield
        return

    def again(_: str) -> None:
        if _now:
            text, since = _now[0]
            typer.echo(f"  still at it, {duration(time.monotonic() - since)}: {text}", err=True)

    with Pulse(str, again):
        yield
