"""Progress of long work on a device."""

from __future__ import annotations

from collections.abc import Callable

import typer


def say(text: str) -> None:
    """One line on standard error."""
    typer.echo(f"  {text}", err=True)


def news() -> Callable[[str], None]:
    """`say` without what it has said before: hundreds of batches go through the same phases."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return once
