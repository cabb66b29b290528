"""Waiting in tests: for events, with a limit that no machine reaches unless the event never comes."""

from __future__ import annotations

import time
from collections.abc import Callable

LONG_S = 120.0
"""Far longer than anything takes on a machine that is busy with other work."""


def until(condition: Callable[[], object], limit_s: float = LONG_S) -> bool:
    """Whether a condition comes true within the limit."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
