"""Patience with boards that are away: again and again until one answers, for as long as the search file allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bevlite.devices.link.waiting import AWAY_S, Clock, Waiting
from search.latency.log import NoBoard
from search.terminal import Say

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """For how many seconds boards are waited for (0: not at all), by which clock, and where that is announced.

    How often one looks, and what may pass, is the policy of all waiting for boards (bevlite.devices.link.waiting).
    """

    wait_s: float
    say: Say
    clock: Clock

    def until_answered(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns as soon as it does not raise NoBoard.

        Raises:
            NoBoard: nothing answered in time, or waiting would not help; any other error at once.
        """
        waiting, told = Waiting(self.wait_s, self.clock), False
        while True:
            try:
                return attempt()
            except NoBoard as error:
                if not error.passes or waiting.over:
                    raise
                if not told:
                    self.say(f"{error}; waiting for up to {waiting.left_s:.0f} s")
                    told = True
                waiting.pause(AWAY_S)
