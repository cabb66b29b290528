"""NVIDIA's word on the modules of a network, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:  # the room `export` stands above this one
    from bevlite.export.check.witness import Witness

NAMED = 8
"""Products that are named one by one."""


def show_witnesses(found: Mapping[str, Witness], note: str, console: Console) -> None:
    """Print the verdict by module, every refusal, and what was asked for INT8 and did not get it.

    Args:
        found: by module; empty where nobody was asked.
        note: why nobody was asked.
        console: where to.
    """
    if not found:
        console.print(escape(note), style="yellow", soft_wrap=True)
        return
    table = Table("module", "verdict", "kernels by type", "s", box=SIMPLE_HEAD)
    table.columns[3].justify = "right"
    for name, witness in found.items():
        kinds: dict[str, int] = {}
        for layer in witness.built.kernels:
            kinds[layer.kind] = kinds.get(layer.kind, 0) + 1
        words = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1]))
        table.add_row(escape(name), escape(witness.words), escape(words), f"{witness.built.seconds:.1f}")
    console.print(f"[italic]{escape(next(iter(found.values())).title)}[/italic]", soft_wrap=True)
    console.print(table)
    for witness in found.values():
        for line in witness.refusals:
            console.print(f"refused: {escape(line)}", style="red", soft_wrap=True)
        for line in witness.unsaid:
            console.print(f"no verdict: {escape(line)}", style="yellow", soft_wrap=True)
        lost = [product for product in witness.int8 if product.denied]
        for product in lost[:NAMED]:
            console.print(f"{escape(witness.module)}: {escape(product.note())}", style="yellow", soft_wrap=True)
        if len(lost) > NAMED:
            console.print(f"... and {len(lost) - NAMED} more in {escape(witness.module)}")
