"""`sudo`: runs a command as it is and says to it that it runs as root; a fault makes it want a password."""

from __future__ import annotations

import os
import shutil
import sys

from bevlite.simulation.jetson.folder import BoardFolder

AS_ROOT = "BEVLITE_BOARD_AS_ROOT"


def is_root() -> bool:
    """Whether the tool was started through the board's `sudo`."""
    return os.environ.get(AS_ROOT) == "1"


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Become the command."""
    never_ask = False
    while arguments and arguments[0].startswith("-"):
        option = arguments.pop(0)
        never_ask = never_ask or option in ("-n", "--non-interactive")
        if option in ("-u", "--user") and arguments:
            arguments.pop(0)
        if option == "--":
            break
    if board.faults.take("sudo_password") is not None:
        reason = "a password is required" if never_ask else "a terminal is required to read the password"
        print(f"sudo: {reason}", file=sys.stderr)
        return 1
    if not arguments:
        print("usage: sudo [-n] command", file=sys.stderr)
        return 1
    program = shutil.which(arguments[0])
    if program is None:
        print(f"sudo: {arguments[0]}: command not found", file=sys.stderr)
        return 1
    os.execve(program, arguments, {**os.environ, AS_ROOT: "1"})
