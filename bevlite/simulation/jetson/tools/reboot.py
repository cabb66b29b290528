"""`reboot`."""

from __future__ import annotations

import sys

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.tools.sudo import is_root


def main(board: BoardFolder, _arguments: list[str]) -> int:
    """Reboot the board; the connection of the caller dies with it."""
    if not is_root():
        print("Failed to set wall message, ignoring: Interactive authentication required.", file=sys.stderr)
        return 1
    board.reboot()
    return 0
