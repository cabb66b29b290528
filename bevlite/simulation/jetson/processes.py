"""The processes of a board: those whose environment names its root. Linux only."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

MARK = "BEVLITE_BOARD_ROOT"
KILL_S = 5.0


def is_alive(pid: int) -> bool:
    """Whether a process exists and is more than a zombie."""
    return _stat(pid)[0] not in ("", "Z")


def _stat(pid: int) -> tuple[str, int, str]:
    """State, parent and name of a process; an empty state for none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", 0, ""
    name = text[text.index("(") + 1 : text.rindex(")")]
    state, parent = text[text.rindex(")") + 2 :].split()[:2]
    return state, int(parent), name


def _all() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        found.append(pid)
        pid = _stat(pid)[1]
    return found


def _is_marked(pid: int, root: Path) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"{MARK}={root}".encode() in environment and is_alive(pid)


def of_board(root: Path) -> list[int]:
    """Everything that was started in a session of the board, without the caller and its ancestors."""
    keep = set(_ancestors(os.getpid()))
    return [pid for pid in _all() if pid not in keep and _is_marked(pid, root)]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_board(root: Path) -> None:
    """Kill what runs on the board, except for the caller and its ancestors; returns when it is gone."""
    deadline = time.monotonic() + KILL_S
    while (found := of_board(root)) and time.monotonic() < deadline:  # what is forked meanwhile is found next time
        for pid in found:
            _kill(pid)
        time.sleep(0.01)


def kill_callers(root: Path) -> None:
    """Kill what the caller runs in on the board, the caller last; a caller from outside lives on."""
    for pid in reversed(_ancestors(os.getpid())):
        if _is_marked(pid, root):
            _kill(pid)


def _listener(folder: Path) -> int | None:
    """The board's own sshd, if it runs: a number in an old file may be another process today."""
    try:
        pid = int((folder / "ssh/sshd.pid").read_text(encoding="utf-8"))
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(folder).encode() in title else None


def kill_listener(folder: Path) -> None:
    """Kill the sshd that a server which died left behind."""
    if (listener := _listener(folder)) is not None:
        _kill(listener)


def kill_connections(folder: Path) -> None:
    """Kill the ssh connections of the board; its listener goes on."""
    if (listener := _listener(folder)) is None:
        return
    for pid in _all():
        _, parent, name = _stat(pid)
        if parent == listener and name.startswith("sshd"):
            for child in _all():  # where sshd separates privileges, the connection is a child of this one
                if _stat(child)[1] == pid and _stat(child)[2].startswith("sshd"):
                    _kill(child)
            _kill(pid)


def drop_connection(folder: Path) -> None:
    """Kill the connection to this board that the caller runs in, as a cut cable would; without one nothing happens."""
    above = _ancestors(os.getpid())
    if _listener(folder) not in above:  # a connection to something else is not ours to cut
        return
    for pid in above:
        if _stat(pid)[2].startswith("sshd"):
            _kill(pid)
            return
