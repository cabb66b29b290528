"""Emulated time in one process: the host's clock, streams, and units of the chip that do one thing at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable


class Timeline:
    """All times in ms since the start. `passes` is told how much the host's clock moved."""

    def __init__(self, passes: Callable[[float], None] = lambda ms: None) -> None:
        self.now = 0.0
        self._passes = passes
        self._ready: dict[int, float] = defaultdict(float)
        self._busy: dict[str, list[tuple[float, float]]] = defaultdict(list)

    def host(self, ms: float) -> None:
        """The host works."""
        self.now += ms
        self._passes(ms)

    def put(self, stream: int, unit: str, ms: float, host_ms: float) -> None:
        """Work of a unit in a stream, which costs the host `host_ms` to hand over; it ends no sooner than that."""
        ready = max(self.now, self._ready[stream])
        self.host(host_ms)
        end = self._occupy(unit, ready, ms)
        self._ready[stream] = max(end, self.now)

    def after(self, stream: int, at: float) -> None:
        """What is put into a stream from now on begins no sooner."""
        self._ready[stream] = max(self._ready[stream], at)

    def mark(self, stream: int) -> float:
        """When the stream will be here."""
        return max(self.now, self._ready[stream])

    def wait(self, stream: int) -> None:
        """The host waits for a stream."""
        self.host(max(0.0, self._ready[stream] - self.now))

    def _occupy(self, unit: str, ready: float, ms: float) -> float:
        """Take the unit's free time from `ready` on, also between what others have of it: kernels of two streams
        follow each other in any order."""
        taken = [span for span in self._busy[unit] if span[1] > self.now]
        at, left, own = ready, ms, []
        for start, end in taken:
            if left <= 0:
                break
            free = start - at
            if free > 0:
                used = min(free, left)
                own.append((at, at + used))
                left -= used
                at += used
            if left > 0:
                at = max(at, end)
        if left > 0:
            own.append((at, at + left))
            at += left
        self._busy[unit] = sorted(taken + own)
        return at
