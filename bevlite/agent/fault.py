"""What can go wrong on a board, by a stable code that travels to the host."""

from __future__ import annotations

from typing import Any

FULL_DISK_FIX = "df -h ~; bevlite's files: ~/.bevlite"


class Fault(Exception):
    """A failure with a code (`bevlite.devices.link.faults` has a class for each) and facts for the message."""

    def __init__(self, code: str, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.facts = facts
