"""How boards are waited for: the one policy of a board's device, of a pool and of a search.

- A **busy** board (somebody else's lease) is waited for on the board itself, where looking costs nothing and the queue
  is kept: for up to `lease_wait_s`. A pool looks at its other boards every `SLICE_S`.
- A board that was **lost** in the middle is connected to again, with pauses that double from `backoff_s` to
  `LONGEST_PAUSE_S`, for up to `reconnect_s`. One that was given up before is not: whoever asks for it again has others,
  or waits in its own way.
- A board that **failed** rests for the `rest_s` of its pool, and others do its work.
- Where **no** board can measure and all that stands in the way may pass, a search asks again every `AWAY_S`, for up to
  its `wait_s`.

What kind of failure is which stands in the classes of `bevlite.devices.link.faults`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from bevlite.devices.link.faults import DeviceFault
from bevlite.devices.settings import Limits

LONGEST_PAUSE_S = 30.0
"""Between two attempts to reach a board that was lost."""
SLICE_S = 1.0
"""How long a pool waits at one busy board before it looks at the others."""
AWAY_S = 30.0
"""Between two looks whether any board is back."""


@dataclass(frozen=True)
class Clock:
    """What waiting is measured by; tests bring one of their own."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Waiting:
    """One wait, from its making on."""

    def __init__(self, limit_s: float, clock: Clock) -> None:
        self._until, self._clock = clock.now() + limit_s, clock

    @property
    def left_s(self) -> float:
        """Until the limit; 0 when it is over."""
        return max(0.0, self._until - self._clock.now())

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.left_s <= 0

    def pause(self, seconds: float) -> None:
        """Sleep, no longer than the limit."""
        self._clock.sleep(min(seconds, self.left_s))


class Attempts:
    """Attempts at one piece of work on one board."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._used: Counter[type[DeviceFault]] = Counter()
        self._lost: Waiting | None = None

    def again(self, fault: DeviceFault, was_there: bool) -> bool:
        """Whether the work is tried again after a fault; `was_there` when the board has answered before."""
        self._used[type(fault)] += 1
        self._lost = self._lost or Waiting(self._limits.reconnect_s, self._clock)
        if fault.away and was_there:
            return not self._lost.over
        return self._used[type(fault)] <= fault.tries

    def pause(self, fault: DeviceFault) -> None:
        """Before the next attempt: the longer the more often this fault came."""
        self._clock.sleep(min(LONGEST_PAUSE_S, self._limits.backoff_s * 2 ** (self._used[type(fault)] - 1)))
