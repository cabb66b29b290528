"""Waiting for events instead of for seconds: a busy machine only makes a test longer."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

from bevlite.devices.link.waiting import Clock

HANG_S = 900.0
"""So that a test that waits for what never comes ends at all; nothing that is tested takes a tenth of it."""
LOOK_S = 0.02


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[Any] | None = None) -> None:
    """Return when `condition` holds; fail at once when the process that would bring it about has ended."""
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, "waited for what never came"
        # It may have ended just after it brought it about.
        assert process is None or process.poll() is None or condition(), f"ended with {process.returncode}"
        time.sleep(LOOK_S)


class OwnClock(Clock):
    """A clock of the test: it stands still, and only sleeping moves it."""

    def __init__(self) -> None:
        slept: list[float] = []
        super().__init__(lambda: sum(slept), slept.append)
        object.__setattr__(self, "slept", slept)

    slept: list[float]
