"""The measurement protocol where the queries are calls of this process: warm-up, enough queries, repeated runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from bevlite.board import statistics
from bevlite.board.protocol import Protocol
from bevlite.devices.figures import Timing

CHECK_EVERY = 50
"""Queries between two looks at the interval."""


def timed(query: Callable[[], float], protocol: Protocol) -> tuple[Timing, list[str]]:
    """Time `query`, which runs once and returns its latency in ms. Also notes on what the protocol asks for in vain.

    A run goes on until it has the protocol's queries and duration and the interval of its median is narrow enough,
    or until its longest duration.
    """
    runs = []
    for _ in range(protocol.repetitions):
        _warm_up(query, protocol.warmup_ms / 1000)
        runs.append(_run(query, protocol))
    timing = Timing.of_runs(runs, protocol.half_width)
    notes = []
    if not timing.converged:
        width = statistics.half_width(timing.samples_ms)
        notes.append(f"the 95 % interval of the median is +-{width:.1%} (accepted: {protocol.half_width:.0%})")
    if timing.spread > protocol.agreement:
        notes.append(f"repeated runs disagree by {timing.spread:.1%} (accepted: {protocol.agreement:.0%})")
    return timing, notes


def _warm_up(query: Callable[[], float], seconds: float) -> None:
    end = time.monotonic() + seconds
    query()
    while time.monotonic() < end:
        query()


def _run(query: Callable[[], float], protocol: Protocol) -> list[float]:
    began = time.monotonic()
    values: list[float] = []
    while True:
        values += [query() for _ in range(CHECK_EVERY)]
        elapsed = time.monotonic() - began
        enough = len(values) >= protocol.queries and elapsed >= protocol.duration_s
        if enough and (statistics.half_width(values) <= protocol.half_width or elapsed >= protocol.longest_s):
            return values
