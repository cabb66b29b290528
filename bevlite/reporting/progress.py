"""Progress of long work on stderr: a bar on a terminal, elsewhere a line now and then; nothing of what is over at once.

A file or a pipe gets a line at least every `EVERY_S` while something runs, so that a log tells work from a hang.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

FIRST_S = 2.0
"""After which work is long enough to say how far it is."""
EVERY_S = 30.0
"""The longest that a log says nothing."""


class Pulse:
    """Says a line whenever nothing was said for a while, from a thread that ends with the block.

    Of several at once (a training within a chain of stages) each waits for what the others said.

    Args:
        line: what is to be said now.
        write: where it goes.
        first_s: how long nothing is said at first.
        every_s: and after that.
    """

    _heard = 0.0

    def __init__(
        self, line: Callable[[], str], write: Callable[[str], None], first_s: float = EVERY_S, every_s: float = EVERY_S
    ) -> None:
        self._line, self._write, self._every_s = line, write, every_s
        self._due = time.monotonic() + first_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @staticmethod
    def heard() -> None:
        """Something was said, by whomever."""
        Pulse._heard = time.monotonic()

    def beat(self) -> None:
        """Something was said here."""
        self.heard()
        self._due = Pulse._heard + self._every_s

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(timeout=1)

    def _run(self) -> None:
        first = True
        while not self._over.wait(max(0.0, self._due - time.monotonic())):
            if not first:
                self._due = max(self._due, Pulse._heard + self._every_s)
            if time.monotonic() >= self._due:
                self.beat()
                first = False
                with suppress(Exception):  # a stream that is gone, a study that is being made: the work itself says it
                    self._write(self._line())


class Work:
    """How far something long is: call it with (done, all), or say what it is at."""

    def __init__(self, label: str) -> None:
        self.label, self.done, self.total = label, 0, 0
        self._began = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """So much is done, of all."""
        self.done, self.total = done, total

    def at(self, label: str, done: int = 0, total: int = 0) -> None:
        """What is done now."""
        if label != self.label:
            self._began = time.monotonic()
        self.label, self.done, self.total = label, done, total

    @property
    def words(self) -> str:
        """In a line."""
        return how_far(self.label, self.done, self.total, time.monotonic() - self._began)


@contextmanager
def progress(label: str) -> Iterator[Work]:
    """Show how far work is, once it takes over two seconds."""
    work = Work(label)
    if sys.stderr.isatty():
        with _bar(work):
            yield work
        return
    with Pulse(lambda: work.words, note, FIRST_S):
        yield work


def how_far(label: str, done: int, total: int, seconds: float) -> str:
    """`evaluate: 120 of 600 (20 %), 1:05 so far, about 4:20 to go`."""
    if not total:
        return f"{label}: {duration(seconds)} so far"
    left = f", about {duration(seconds / done * (total - done))} to go" if done else ""
    return f"{label}: {done} of {total} ({done / total:.0%}), {duration(seconds)} so far{left}".replace("%)", " %)")


def duration(seconds: float) -> str:
    """`0:09`, `12:30` or `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _bar(work: Work) -> Iterator[None]:
    """A bar on the terminal, once the work has taken so long; a thread moves it."""
    over = threading.Event()

    def show() -> None:
        if over.wait(FIRST_S):
            return
        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(work.label, total=None)
            while not over.wait(0.2):
                bar.update(task, description=work.label, completed=work.done, total=work.total or None)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=1)


def note(text: str) -> None:
    """A line on stderr."""
    print(f"  {text}", file=sys.stderr, flush=True)
