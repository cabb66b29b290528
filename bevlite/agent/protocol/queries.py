"""A run of the protocol whose queries are calls of this process: when there are enough of them."""

from __future__ import annotations

import time
from typing import Callable

from bevlite.agent.protocol import statistics
from bevlite.agent.protocol.protocol import MOST_DOUBLED, Protocol

CHECK_EVERY = 50
"""Queries between two looks at how far the run is."""
GROWTH = 1.1
"""Of the queries between two looks at the interval, which sorts them all while the board idles."""


def warm_up(query: Callable[[], float], seconds: float) -> None:
    """Call for a while, once at least."""
    end = time.monotonic() + seconds
    query()
    while time.monotonic() < end:
        query()


def run(query: Callable[[], float], protocol: Protocol) -> list[float]:
    """Latencies of one run, as `query` returns them, in ms.

    It goes on until it has the protocol's queries and its duration (or the most queries of it) and the interval of
    the median is narrow enough, or until its longest duration.
    """
    began = time.monotonic()
    values: list[float] = []
    next_look = 0.0
    while True:
        for _ in range(CHECK_EVERY):
            values.append(query())
            elapsed = time.monotonic() - began
            if elapsed >= protocol.longest_s:  # whatever is missing then, is said of the interval
                return values
        count = len(values)
        if count < protocol.queries or (elapsed < protocol.duration_s and count < protocol.most_queries):
            continue
        if count >= MOST_DOUBLED * protocol.most_queries:
            return values
        if count >= next_look:
            if statistics.half_width(values) <= protocol.half_width:
                return values
            next_look = count * GROWTH
