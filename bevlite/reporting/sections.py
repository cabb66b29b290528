"""Tables that the terminal and a page show alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True)
class Section:
    """A table under a title. `figures` are the columns, by number, that stand on the right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[int] = ()

    def table(self, min_width: int | None = None) -> Table:
        """For the terminal: figures are never broken."""
        table = Table(
            *self.columns, title=escape(self.title), title_justify="left", box=SIMPLE_HEAD, min_width=min_width
        )
        for number in self.figures:
            table.columns[number].justify = "right"
            table.columns[number].no_wrap = True
        for row in self.rows:
            table.add_row(*map(escape, row))
        return table
