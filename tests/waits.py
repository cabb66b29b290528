"""Waiting for what another process does: for an event, never for a time that a busy machine may take longer than."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 900.0
"""Ends a test that hangs. Nothing is ever expected to take that long."""


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Wait until something has happened that a process is about to do.

    Raises:
        AssertionError: the process ended without it, or nothing happened for `PATIENCE_S`.
    """
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert process.poll() is None or ready(), f"the process ended with {process.returncode}, too early"
        assert time.monotonic() < end, "nothing happened: the process hangs"
        time.sleep(0.02)
