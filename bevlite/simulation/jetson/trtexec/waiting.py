"""Emulated time passing, and what may happen while it does."""

from __future__ import annotations

import os
import signal
import time

from bevlite.simulation.jetson import processes
from bevlite.simulation.jetson.folder import BoardFolder

DEFAULT_SHARE = 0.5


def wait(board: BoardFolder, seconds: float, phase: str) -> None:
    """Wait for emulated seconds of a phase (`build` or `measure`).

    Where a fault of this phase is on, it strikes after the share `at` (0.5) of the time.
    """
    real = seconds * board.time_scale
    for name, key in (("killed", "phase"), ("hang", "phase"), ("connection_drop", "phase"), ("reboot", "during")):
        found = board.faults.active(name, **{key: phase})
        if found is None:
            continue
        before = real * float(found.get("at", DEFAULT_SHARE))
        time.sleep(before)
        if board.faults.take(name, **{key: phase}) is not None:
            _strike(board, name, float(found.get("seconds", 86400)))
        real -= before
    time.sleep(real)


def _strike(board: BoardFolder, name: str, hang_s: float) -> None:
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "hang":
        time.sleep(hang_s)
    elif name == "connection_drop":
        processes.drop_connection(board.path)
    else:
        board.reboot()
