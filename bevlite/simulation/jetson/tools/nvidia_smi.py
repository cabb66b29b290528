"""`nvidia-smi`: without use on a Jetson, and the machine's own must not answer for the board."""

from __future__ import annotations

from bevlite.simulation.jetson.folder import BoardFolder


def main(_board: BoardFolder, _arguments: list[str]) -> int:
    """Fail as it does where there is no driver that it knows."""
    print("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    return 9
