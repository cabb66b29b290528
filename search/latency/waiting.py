"""Waiting for boards that are away: again and again until one answers, for as long as the search file allows."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from search.latency.log import BlockedBoard, NoBoard
from search.terminal import Say

T = TypeVar("T")
RETRY_S = 30.0
"""Between two attempts to find a board that answers."""


class Clock(Protocol):
    """The time that waiting takes. Tests have one of their own."""

    def now_s(self) -> float:
        """Seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""


class RealClock:
    """The machine's."""

    def now_s(self) -> float:
        """Seconds since the machine was started."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds)


@dataclass(frozen=True)
class Patience:
    """For how many seconds boards are waited for (0: not at all), by which clock, and where that is announced."""

    wait_s: float
    say: Say
    clock: Clock

    def until_answered(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns as soon as it does not raise NoBoard.

        Raises:
            NoBoard: nothing answered in time, or (BlockedBoard) waiting would not help; any other error at once.
        """
        began_s, told = self.clock.now_s(), False
        while True:
            try:
                return attempt()
            except BlockedBoard:
                raise
            except NoBoard as error:
                left_s = self.wait_s - (self.clock.now_s() - began_s)
                if left_s <= 0:
                    raise
                if not told:
                    self.say(f"{error}; waiting for up to {left_s:.0f} s")
                    told = True
                self.clock.sleep(min(RETRY_S, left_s))
