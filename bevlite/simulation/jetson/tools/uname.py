"""`uname` of the board."""

from __future__ import annotations

from bevlite.simulation.jetson.folder import BoardFolder


def main(board: BoardFolder, arguments: list[str]) -> int:
    """Answer `-s -n -r -m -a`."""
    kernel = board.release.kernel
    values = {"s": "Linux", "n": "emulated-orin", "r": kernel, "v": "#1 SMP PREEMPT", "m": "aarch64", "o": "GNU/Linux"}
    letters = "".join(a.lstrip("-") for a in arguments) or "s"
    if "a" in letters:
        letters = "snrvmo"
    print(" ".join(value for key, value in values.items() if key in letters))
    return 0
