"""The measurement protocol where the queries are calls of this process: warm-up, enough queries, repeated runs."""

from __future__ import annotations

from collections.abc import Callable

from bevlite.agent.protocol import queries, statistics
from bevlite.agent.protocol.protocol import Protocol
from bevlite.devices.report.timing import Timing


def timed(query: Callable[[], float], protocol: Protocol) -> tuple[Timing, list[str]]:
    """Time `query`, which runs once and returns its latency in ms. Also notes on what the protocol asks for in vain.

    A run goes on until it has the protocol's queries and duration and the interval of its median is narrow enough,
    or until its longest duration.
    """
    runs = []
    for _ in range(protocol.repetitions):
        queries.warm_up(query, protocol.warmup_ms / 1000)
        runs.append(queries.run(query, protocol))
    timing = Timing.of_runs(runs, protocol.half_width)
    notes = []
    if not timing.converged:
        width = statistics.half_width(timing.samples_ms)
        notes.append(f"the 95 % interval of the median is +-{width:.1%} (accepted: {protocol.half_width:.0%})")
    if timing.spread > protocol.agreement:
        notes.append(f"repeated runs disagree by {timing.spread:.1%} (accepted: {protocol.agreement:.0%})")
    return timing, notes
