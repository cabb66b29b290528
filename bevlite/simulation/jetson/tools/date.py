"""`date` of the board: the machine's, moved by the fault `clock_jump`."""

from __future__ import annotations

import os

from bevlite.simulation.jetson.folder import BoardFolder


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Become the machine's `date` at the board's time; a `-d` of the caller wins."""
    program = "/bin/date" if os.path.exists("/bin/date") else "/usr/bin/date"
    os.execv(program, ["date", "-d", f"@{board.now():.6f}", *arguments])
