"""Emulated time passing, and what may happen while it does."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from bevlite.simulation.jetson import processes, sysfs
from bevlite.simulation.jetson.folder import BoardFolder

DEFAULT_SHARE = 0.5
KEYS = {"killed": "phase", "hang": "phase", "connection_drop": "phase", "reboot": "during", "clock_jump": "during"}
"""The faults that strike while time passes, each with its parameter for the phase."""


def wait(board: BoardFolder, seconds: float, phase: str) -> None:
    """Wait for emulated seconds of a phase (`build` or `measure`).

    Where a fault of this phase is on, it strikes after the share `at` (0.5) of the time.
    """
    real = seconds * board.time_scale
    for name, key in KEYS.items():
        found = board.faults.active(name, **{key: phase})
        if found is None or (name == "clock_jump" and key not in found):  # a clock that has jumped jumps no more
            continue
        before = real * float(found.get("at", DEFAULT_SHARE))
        time.sleep(before)
        taken = board.faults.take(name, **{key: phase})
        if taken is not None:
            _strike(board, name, taken)
        real -= before
    time.sleep(real)


def _strike(board: BoardFolder, name: str, found: dict[str, Any]) -> None:
    if name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "hang":
        time.sleep(float(found.get("seconds", 86400)))
    elif name == "connection_drop":
        processes.drop_connection(board.path)
    elif name == "clock_jump":
        board.faults.set(name, seconds=found.get("seconds", 3600))
        sysfs.refresh(board)
    else:
        board.reboot(stays_down=bool(found.get("stays_down")))
