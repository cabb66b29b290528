"""What INT8 does to the modules of a network, in the terminal: what stays FP16, and where scales must be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from bevlite.latency.gpu.quantization import Int8Findings

NAMED = 3


def show_int8(modules: Mapping[str, Int8Findings], console: Console) -> None:
    """Print one row for the nodes of a module with the same finding."""
    rows = [(name, row) for name, found in modules.items() for row in found.rows]
    if not rows:
        return
    table = Table("module", "operator", "nodes", "what", "why; what to do", "first of them", box=SIMPLE_HEAD)
    table.title, table.title_justify = "INT8: what stays FP16, gains nothing, or is requantised (predicted)", "left"
    table.columns[2].justify = "right"
    for name, row in rows:
        more = ", ..." if len(row.nodes) > NAMED else ""
        first = escape(", ".join(row.nodes[:NAMED]) + more)
        table.add_row(
            escape(name), row.op, str(len(row.nodes)), row.effect, escape(f"{row.reason}; {row.remedy}"), first
        )
    console.print(table)
