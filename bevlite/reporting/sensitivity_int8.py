"""What INT8 costs and saves unit by unit, as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.reporting.analysis import aligned
from bevlite.reporting.sensitivity import Drawn, belief, draw_losses

if TYPE_CHECKING:
    from bevlite.compression.measured_int8 import QuantizationSensitivity


def int8_table(table: QuantizationSensitivity) -> str:
    """A line a unit, the dearest at the end."""
    head = ["unit", "layers", f"{table.figure} lost", "95 %", "first", "last", "ms saved", "lost a ms"]
    lines = [
        [
            one.unit, str(len(one.layers)), f"{one.loss:+.4f}",
            f"{one.lower:+.4f} to {one.upper:+.4f}" if table.scenes > 1 else "one scene",
            f"{one.first.loss:+.4f}", f"{one.last.loss:+.4f}", f"{one.saved_ms:.4f}",
            f"{one.loss / one.saved_ms:+.4f}" if one.saved_ms > 0 else "-",
        ]
        for one in sorted(table.units, key=lambda one: one.loss)
    ]  # fmt: skip
    return aligned([head, *lines])


def int8_words(table: QuantizationSensitivity) -> str:
    """What was scored, what the columns are, and whether the order of the units is to be believed."""
    interval = f" ({table.lost.lower:+.4f} to {table.lost.upper:+.4f})" if table.scenes > 1 else ""
    return (
        f"in float: {table.figure} {table.whole:.4f} on {table.samples} samples of {table.scenes} scenes "
        f"({table.split}), {table.whole_ms:.2f} ms predicted in FP16 ({table.device}, TensorRT {table.tensorrt})\n"
        f"in INT8: {table.figure} {table.int8:.4f}, lost {table.lost.loss:+.4f}{interval}, {table.int8_ms:.2f} ms "
        "predicted\n"
        "first: lost when the unit alone goes to INT8; last: when it goes after all others; lost is the mean of both. "
        "ms saved: predicted, within the network in INT8\n"
        f"{belief(table.rank_correlation)}"
    )


def draw_int8_sensitivity(table: QuantizationSensitivity, out: Path, title: str) -> None:
    """What each unit lost, sorted, and its loss against the milliseconds that INT8 saves there."""
    shown = [
        Drawn(one.unit, f"{one.unit} ({len(one.layers)})" if len(one.layers) > 1 else one.unit, one.loss, one.lower,
              one.upper, one.saved_ms)
        for one in table.units
    ]  # fmt: skip
    lost = f"{table.figure} lost in INT8 (of {table.whole:.4f})"
    titles = "mean of first and last, 95 % of scenes", f"every {table.by}"
    draw_losses(shown, shown, lost, table.device, titles, out, title)
