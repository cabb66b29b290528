"""What blocks of a network are worth and cost, as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.reporting.analysis import aligned
from bevlite.reporting.sensitivity import Drawn, belief, draw_losses

if TYPE_CHECKING:
    from bevlite.compression.sensitivity_blocks import BlockSensitivity


def block_table(table: BlockSensitivity) -> str:
    """A line a block, the dearest at the end."""
    head = ["block", "influence", f"{table.figure} lost", "95 %", "ms saved", "lost a ms"]
    lines = [
        [
            row.block, f"{row.influence:.4f}", f"{row.loss:+.4f}",
            f"{row.lower:+.4f} to {row.upper:+.4f}" if table.scenes > 1 else "one scene", f"{row.saved_ms:.3f}",
            f"{row.loss / row.saved_ms:+.4f}" if row.saved_ms > 0 else "-",
        ]
        for row in sorted(table.blocks, key=lambda row: row.loss)
    ]  # fmt: skip
    return aligned([head, *lines])


def block_words(table: BlockSensitivity) -> str:
    """What was scored, whether the order of the blocks is to be believed, and whether influences tell it too."""
    by_influence = "none, of equal values" if table.by_influence is None else f"{table.by_influence:.2f}"
    return (
        f"whole network: {table.figure} {table.whole:.4f} on {table.samples} samples of {table.scenes} scenes "
        f"({table.split}), {table.whole_ms:.2f} ms predicted ({table.device}, TensorRT {table.tensorrt}); one block is "
        f"removed at a time, and nothing was trained on\n{belief(table.rank_correlation)}\n"
        f"rank correlation of losses and influences: {by_influence}"
    )


def draw_block_sensitivity(table: BlockSensitivity, out: Path, title: str) -> None:
    """What each block lost, sorted, with its influence, and losses against milliseconds saved."""
    drawn = [
        Drawn(row.block, f"{row.block} (influence {row.influence:.3f})", row.loss, row.lower, row.upper, row.saved_ms)
        for row in table.blocks
    ]
    titles = "without this block, 95 % of scenes", "every block"
    draw_losses(drawn, drawn, f"{table.figure} lost", table.device, titles, out, title)
