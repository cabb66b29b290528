"""Frames one after the other, and with two in flight, over lanes that each take one frame at a time.

A lane has `issue(sample)`, which begins a frame, `finish()`, which waits for its end and gives its latency in ms, and
`parts_ms()`, the times of the parts of the last frame. The same for a board and for the devices of the host.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Sequence

from bevlite.agent.protocol import queries
from bevlite.agent.protocol.protocol import Protocol

_DIGITS = 6


class Turn:
    """The sample frames round robin."""

    def __init__(self, samples: Sequence[Any]) -> None:
        self._samples = samples
        self._number = -1

    def next(self) -> Any:
        """The next one."""
        self._number = (self._number + 1) % len(self._samples)
        return self._samples[self._number]


def one_in_flight(lane: Any, turn: Turn, protocol: Protocol, begins: Callable[[], None] = lambda: None) -> dict:
    """`latency_ms` and `parts_ms` of one run, and the `seconds` that it took; `begins` is called after the warm-up."""
    parts: list[list[float]] = []

    def query() -> float:
        lane.issue(turn.next())
        latency_ms: float = lane.finish()
        parts.append(lane.parts_ms())
        return latency_ms

    return _timed(query, protocol, parts, begins)


def two_in_flight(
    lanes: Sequence[Any], turn: Turn, protocol: Protocol, begins: Callable[[], None] = lambda: None
) -> dict:
    """The same: while one lane works, the host waits for the other, takes its outputs and gives it the next frame.

    The other frame's work lies between the events of a part: its time is no cost of the part alone.
    """
    first, second = lanes
    parts: list[list[float]] = []
    waiting = [first, second]
    for lane in waiting:
        lane.issue(turn.next())

    def query() -> float:
        lane = waiting[0]
        latency_ms: float = lane.finish()
        parts.append(lane.parts_ms())
        lane.issue(turn.next())
        waiting.reverse()
        return latency_ms

    found = _timed(query, protocol, parts, begins)
    for lane in waiting:
        lane.finish()
    return found


def _timed(
    query: Callable[[], float], protocol: Protocol, parts: list[list[float]], begins: Callable[[], None]
) -> dict:
    queries.warm_up(query, protocol.warmup_ms / 1000)
    begins()
    began = time.perf_counter_ns()
    values = queries.run(query, protocol)
    seconds = (time.perf_counter_ns() - began) / 1e9
    counted = parts[-len(values) :]  # those before were warm-up
    return {
        "latency_ms": [round(value, _DIGITS) for value in values],
        "parts_ms": [[round(frame[place], _DIGITS) for frame in counted] for place in range(len(counted[0]))],
        "seconds": seconds,
    }
