"""The compiler's process: run with limits, and what it left behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bevlite.errors import BevliteError
from bevlite.orphans import is_alive
from bevlite.rtx import worker

_POLL_S = 0.02
_JOIN_S = 5.0
_TAIL_BYTES = 1 << 16
_PREFIX = "bevlite-rtx-"
Messages = Sequence[tuple[str, str]]
"""Severity and text of what the library said."""


@dataclass(frozen=True)
class Limits:
    """What one file may take: seconds, and MiB of memory (raises BevliteError for what is no limit)."""

    seconds: float = 300.0
    memory_mib: int = 8192

    def __post_init__(self) -> None:
        for name, value, most in (("seconds", self.seconds, 1e6), ("memory_mib", self.memory_mib, 10**7)):
            if not (isinstance(value, (int, float)) and 0 < value <= most):
                raise BevliteError(f"{name}: found {value!r}; accepted: a number over 0, up to {most:g}")


@dataclass(frozen=True)
class Ended:
    """How the process ended: exit code (negative: a signal), the limit that it ran into, its own last words."""

    code: int
    limit: str
    stderr: str


_running: set[int] = set()
_lock = threading.Lock()


def end_all() -> None:
    """Kill every compiler that this process has started; whoever waits for one finds it ended."""
    with _lock:
        for group in _running:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is gone afterwards; those of processes that were killed before they could are swept first."""
    above = Path(tempfile.gettempdir())
    for left in above.glob(f"{_PREFIX}*"):
        owner = left.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as folder:
        yield Path(folder)


def run_worker(arguments: Sequence[str], limits: Limits) -> Ended:
    """Run the worker; it is killed with all its children when it is over a limit, or when this process goes on."""
    child = subprocess.Popen(
        [sys.executable, worker.__file__, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with _lock:
        _running.add(child.pid)
    assert child.stdout is not None
    said = _Tail(child.stdout)
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
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)  # children of it as well, which may hold the pipe
        child.wait()
        with _lock:
            _running.discard(child.pid)
    return Ended(child.returncode, limit, said.text())


class _Tail:
    """The end of what a program writes, read as it comes: a pipe that nobody reads would stop it.

    A pipe and no file, so that a full disk can still be told of.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while piece := self._stream.read1(_TAIL_BYTES):  # type: ignore[attr-defined]
                self._kept = (self._kept + piece)[-_TAIL_BYTES:]

    def text(self) -> str:
        """What is kept, once the program has ended."""
        self._thread.join(_JOIN_S)
        with contextlib.suppress(OSError):
            self._stream.close()
        return self._kept.decode("utf-8", "replace")


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
