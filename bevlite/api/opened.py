"""Devices that a function was given, or has to open and close itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bevlite.devices.board_device import BoardDevice
    from bevlite.devices.contract import Device

Say = Callable[[str], None]
"""Where news of long work on a device go, line by line."""


@contextmanager
def opened(device: Device | str, say: Say | None) -> Iterator[Device]:
    """A device by its name or file for the length of a `with` block; one that is given stays open."""
    from bevlite.devices.files import open_device

    if not isinstance(device, str):
        yield device
        return
    found = open_device(device, say or _silence)
    try:
        yield found
    finally:
        close = getattr(found, "close", None)
        if close is not None:
            close()


@contextmanager
def opened_board(device: BoardDevice | str | None, say: Say | None) -> Iterator[BoardDevice | None]:
    """The same of one board; None where none is asked for."""
    from bevlite.devices.files import open_board

    if not isinstance(device, str):
        yield device
        return
    with open_board(device, say or _silence) as board:
        yield board


def _silence(text: str) -> None:
    """Nobody listens."""
