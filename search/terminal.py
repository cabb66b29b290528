"""What a search says while it works."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

Say = Callable[[str], None]


def make_console() -> Console:
    """As wide as the terminal; wide enough for a table where the output is a file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def speaker(console: Console) -> Say:
    """Prints a line with the time before it."""

    def say(text: str) -> None:
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim]  {escape(text)}", soft_wrap=True)

    return say
