"""What cuts of a network cost and save, as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.reporting.analysis import aligned

if TYPE_CHECKING:
    from bevlite.compression.measured import MeasuredCut, PruningSensitivity

COLOURS = ("#12325c", "#c05a00", "#2f7d4f", "#8a3b8f", "#7a7a7a", "#b00020")
ENOUGH = 0.8
"""The rank correlation of two halves of the scenes below which an order of layers says little."""


def sensitivity_table(table: PruningSensitivity) -> str:
    """A line a cut, the dearest at the end."""
    head = ["unit", "ratio", "channels", f"{table.figure} lost", "95 %", "ms saved", "lost a ms"]
    lines = [
        [
            cut.unit, f"{cut.ratio:g}", f"-{cut.removed} of {cut.channels}", f"{cut.loss:+.4f}",
            f"{cut.lower:+.4f} to {cut.upper:+.4f}" if table.scenes > 1 else "one scene", f"{cut.saved_ms:.3f}",
            f"{cut.loss / cut.saved_ms:+.4f}" if cut.saved_ms > 0 else "-",
        ]
        for cut in sorted(table.cuts, key=lambda cut: cut.loss)
    ]  # fmt: skip
    return aligned([head, *lines])


def sensitivity_words(table: PruningSensitivity) -> str:
    """What was scored, and whether the order of the units holds on both halves of the scenes."""
    whole = (
        f"whole network: {table.figure} {table.whole:.4f} on {table.samples} samples of {table.scenes} scenes "
        f"({table.split}), {table.whole_ms:.2f} ms predicted ({table.device}, TensorRT {table.tensorrt}); nothing was "
        "trained on after a cut"
    )
    if table.rank_correlation is None:
        return f"{whole}\nrank correlation of two halves of the scenes: none, of so few scenes or equal losses"
    verdict = "at least" if table.rank_correlation >= ENOUGH else "too little: take more --samples; below"
    return (
        f"{whole}\nrank correlation of the losses by two halves of the scenes (Spearman): "
        f"{table.rank_correlation:.2f}, {verdict} {ENOUGH:g}"
    )


def draw_sensitivity(table: PruningSensitivity, out: Path, title: str) -> None:
    """What each unit lost at its largest ratio, sorted, and every cut's loss against the milliseconds it saves."""
    from matplotlib.figure import Figure

    modules = list(dict.fromkeys(cut.unit.split(".")[0] for cut in table.cuts))
    colour = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(modules)}
    last = {cut.unit: cut for cut in sorted(table.cuts, key=lambda cut: cut.ratio)}
    shown = sorted(last.values(), key=lambda cut: cut.loss)
    figure = Figure(figsize=(13, max(4.0, 0.17 * len(shown) + 1.6)), layout="constrained")
    bars, points = figure.subplots(1, 2)
    for row, cut in enumerate(shown):
        bars.barh(row, cut.loss, color=_of(colour, cut), height=0.7)
        bars.plot([cut.lower, cut.upper], [row, row], color="#333333", lw=0.8)
    bars.set(yticks=range(len(shown)), xlabel=f"{table.figure} lost", title="at the largest ratio, 95 % of scenes")
    bars.set_yticklabels([f"{cut.unit} ({cut.removed / cut.channels:.0%})" for cut in shown], fontsize=6)
    for name in modules:
        own = [cut for cut in table.cuts if cut.unit.split(".")[0] == name]
        style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 0.6, "color": colour[name], "label": name}
        points.errorbar(
            [cut.saved_ms for cut in own], [cut.loss for cut in own],
            yerr=[[max(0.0, cut.loss - cut.lower) for cut in own], [max(0.0, cut.upper - cut.loss) for cut in own]],
            **style,
        )  # fmt: skip
    for cut in sorted(shown, key=lambda cut: cut.saved_ms)[-8:]:
        points.annotate(cut.unit, (cut.saved_ms, cut.loss), fontsize=6, xytext=(4, 3), textcoords="offset points")
    points.set(xlabel=f"ms saved, predicted ({table.device})", ylabel=f"{table.figure} lost", title="every cut")
    for axes in (bars, points):
        axes.grid(color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
    points.legend(fontsize=7, frameon=False)
    figure.suptitle(title)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def _of(colour: dict[str, str], cut: MeasuredCut) -> str:
    return colour[cut.unit.split(".")[0]]
