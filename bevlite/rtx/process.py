"""The compiler's process: run with limits, and what it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bevlite.errors import BevliteError
from bevlite.rtx import worker

_POLL_S = 0.02
Messages = Sequence[tuple[str, str]]
"""Severity and text of what the library said."""


@dataclass(frozen=True)
class Limits:
    """What one file may take: seconds, and MiB of memory (raises BevliteError for what is no limit)."""

    seconds: float = 300.0
    memory_mib: int = 8192

    def __post_init__(self) -> None:
        for name, value, most in (("seconds", self.seconds, 1e6), ("memory_mib", self.memory_mib, 10**7)):
            if not 0 < value <= most:
                raise BevliteError(f"{name}: found {value:g}; accepted: more than 0, up to {most:g}")


@dataclass(frozen=True)
class Ended:
    """How the process ended: exit code (negative: a signal), the limit that it ran into, its own last words."""

    code: int
    limit: str
    stderr: str


def run_worker(arguments: Sequence[str], limits: Limits) -> Ended:
    """Run the worker; it is killed with all its children when it is over a limit, or when this process goes on."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            [sys.executable, worker.__file__, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        limit = ""
        try:
            deadline = time.monotonic() + limits.seconds
            while child.poll() is None:
                if time.monotonic() > deadline:
                    limit = "time"
                elif _resident_mib(child.pid) > limits.memory_mib:
                    limit = "memory"
                if limit:
                    break
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(_POLL_S)
        finally:
            if child.poll() is None:
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        said.seek(0)
        return Ended(child.returncode, limit, said.read().decode("utf-8", "replace"))


def _resident_mib(pid: int) -> float:
    """Memory that a process holds; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def read_messages(file: Path) -> Messages:
    """Severity and text of every message; a line that was cut off by a crash is left out."""
    found = []
    with contextlib.suppress(OSError), file.open(encoding="utf-8") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                severity, text = json.loads(line)
                found.append((severity, text))
    return found


def read_result(file: Path) -> dict[str, Any] | None:
    """What the worker found; None where it did not come to an end."""
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result
