"""Programs that the agent starts: each with a time limit, all of them ended when the agent ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import queue
import signal
import subprocess
import threading
import time
from typing import Callable, NamedTuple, Sequence

from bevlite.agent.fault import Fault

KEPT_CHARACTERS = 4 << 20
"""Of a program's output; a log that grows without end must not fill the memory of a board."""
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Finished(NamedTuple):
    """A program that ended: its exit code (negative for a signal) and all that it wrote."""

    code: int
    text: str
    seconds: float


_groups: set[int] = set()
_lock = threading.RLock()  # `end_all` may come from a signal handler while it is held


def end_all() -> None:
    """Kill every program that still runs, with its children."""
    with _lock:
        for group in _groups:
            with contextlib.suppress(OSError):
                os.killpg(group, signal.SIGKILL)


def start(argv: Sequence[str], folder: str | None = None) -> subprocess.Popen:
    """Start a program in a process group of its own; it dies with the agent, even if that is killed."""
    child = subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,  # nothing may wait for an answer that nobody gives
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent,
        cwd=folder,
        env=dict(os.environ, LC_ALL="C"),
    )
    with _lock:
        _groups.add(child.pid)
    return child


def stop(child: subprocess.Popen) -> None:
    """Kill a program with its children, if it still runs, and wait for it."""
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    with _lock:
        _groups.discard(child.pid)


def run(
    argv: Sequence[str],
    limit_s: float,
    phase: str,
    on_line: Callable[[str], None] | None = None,
    folder: str | None = None,
) -> Finished:
    """Run a program to its end, in a working folder if one is given.

    Raises:
        Fault: `hang` when it takes longer than `limit_s`; `program_missing` when it cannot be started.
    """
    began = time.monotonic()
    try:
        child = start(argv, folder)
    except OSError as error:
        raise Fault("program_missing", f"{argv[0]}: cannot be started ({error.strerror})") from None
    lines: queue.Queue = queue.Queue()
    threading.Thread(target=_read, args=(child, lines), daemon=True).start()
    kept: list[str] = []
    size = 0
    try:
        while True:
            left = began + limit_s - time.monotonic()
            try:
                line = lines.get(timeout=max(0.0, left))
            except queue.Empty:
                last = kept[-1].strip() if kept else "nothing"
                message = "{}: no end after {:.0f} s in phase '{}'; it had printed: {}"
                name = os.path.basename(argv[0])
                raise Fault("hang", message.format(name, limit_s, phase, last), phase=phase) from None
            if line is None:
                break
            if size < KEPT_CHARACTERS:
                kept.append(line)
                size += len(line)
            if on_line is not None:
                on_line(line)
        # The pipe may be closed by a program that stays.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=max(0.1, began + limit_s - time.monotonic()))
        code = child.returncode if child.returncode is not None else -signal.SIGKILL
        return Finished(code, "".join(kept), time.monotonic() - began)
    finally:
        stop(child)


def _read(child: subprocess.Popen, lines: queue.Queue) -> None:
    assert child.stdout is not None
    for raw in child.stdout:
        lines.put(raw.decode("utf-8", "replace"))
    lines.put(None)


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
