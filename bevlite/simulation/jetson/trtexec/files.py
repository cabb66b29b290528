"""Files that trtexec writes on the board, with the faults of its disk."""

from __future__ import annotations

from pathlib import Path

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.trtexec.log import Failure


def write_bytes(board: BoardFolder, path: Path, data: bytes, *failure: str) -> None:
    """Write a file.

    Raises:
        Failure: the disk is full (a fault), or the place cannot be written.
    """
    full = board.faults.take("disk_full", of="trtexec")
    if full is not None:
        path.write_bytes(data[: int(full.get("free", 0))])
        raise Failure(f"Writing {path} failed: No space left on device", *failure)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Failure(f"Cannot open {path}: {error.strerror}", *failure) from None


def write_json(board: BoardFolder, path: Path, text: str) -> None:
    """Write an exported JSON file; the fault `truncated_json` leaves its first half.

    Raises:
        Failure: as `write_bytes`.
    """
    data = text.encode()
    if board.faults.take("truncated_json") is not None:
        data = data[: len(data) // 2]
    write_bytes(board, path, data)
