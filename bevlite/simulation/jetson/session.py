"""What sshd runs for every connection: the command that was asked for, on the emulated board."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from bevlite.simulation.jetson import processes
from bevlite.simulation.jetson.folder import BoardFolder

SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


def environment(board: BoardFolder) -> dict[str, str]:
    """The environment of a session."""
    root = board.root
    own = [str(root / part) for part in ("usr/bin", "usr/sbin", "usr/src/tensorrt/bin")]
    path = [*own, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
    kept = {k: v for k, v in os.environ.items() if k.startswith(("SSH_", "LC_")) or k in ("LANG", "TERM", "USER")}
    return {
        **kept,
        "BEVLITE_BOARD_ROOT": str(root),
        "HOME": str(root / "home/nvidia"),
        "PATH": ":".join(path),
        "PS1": "nvidia@emulated-orin:$ ",
    }


def _command(wanted: str | None) -> list[str]:
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    if wanted is None:
        return [shell, "--norc", "-i"] if shell == "/bin/bash" and sys.stdin.isatty() else [shell]
    if "sftp" in shlex.split(wanted)[0]:
        return [next((s for s in SFTP_SERVERS if os.path.exists(s)), SFTP_SERVERS[0])]
    return [shell, "-c", wanted]


def _pass_on(source: IO[bytes], target: IO[bytes], after: int, cut: Callable[[], bool]) -> None:
    """Copy a stream; once more than `after` bytes came, `cut` may end it for good."""
    passed = 0
    while block := os.read(source.fileno(), 65536):
        if passed + len(block) > after:
            target.write(block[: max(0, after - passed)])
            target.flush()
            if cut():
                target.close()  # as sshd would: the command hears that its input ended
                return
            block, after = block[max(0, after - passed) :], sys.maxsize
        passed += len(block)
        try:
            target.write(block)
            target.flush()
        except BrokenPipeError:
            return
    target.close()


def _run_watched(board: BoardFolder, command: list[str], phase: str, after: int) -> int:
    """Run a command whose incoming (`copy`) or outgoing (`result`) bytes are counted."""

    def cut() -> bool:
        if board.faults.take("connection_drop", phase=phase) is None:
            return False
        processes.drop_connection(board.path)
        return True

    incoming = phase == "copy"
    child = subprocess.Popen(
        command,
        env=environment(board),
        stdin=subprocess.PIPE if incoming else None,
        stdout=None if incoming else subprocess.PIPE,
    )
    if incoming:
        assert child.stdin is not None
        pump = threading.Thread(target=_pass_on, args=(sys.stdin.buffer, child.stdin, after, cut), daemon=True)
        pump.start()
    else:
        assert child.stdout is not None
        _pass_on(child.stdout, sys.stdout.buffer, after, cut)
    return child.wait()


def main(board: BoardFolder, _arguments: list[str]) -> int:
    """Become the command of this connection; returns only where its streams are watched for a fault."""
    if board.is_down:
        processes.drop_connection(board.path)
        return 255
    os.chdir(board.root / "home/nvidia")
    command = _command(os.environ.get("SSH_ORIGINAL_COMMAND"))
    for phase in ("copy", "result"):
        fault = board.faults.active("connection_drop", phase=phase)
        if fault is not None:
            return _run_watched(board, command, phase, int(fault.get("after", 4096 if phase == "copy" else 0)))
    os.execve(command[0], command, environment(board))
