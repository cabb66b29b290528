"""What cuts of a network cost and save, as text and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.reporting.analysis import aligned

if TYPE_CHECKING:
    from bevlite.compression.measured import PruningSensitivity

COLOURS = ("#12325c", "#c05a00", "#2f7d4f", "#8a3b8f", "#7a7a7a", "#b00020")
ENOUGH = 0.8
"""The rank correlation of two halves of the scenes below which an order of layers says little."""

NAMED = 6
"""Points that are named in a picture: so many of those that lose most, and of those that save most."""


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
    return (
        f"whole network: {table.figure} {table.whole:.4f} on {table.samples} samples of {table.scenes} scenes "
        f"({table.split}), {table.whole_ms:.2f} ms predicted ({table.device}, TensorRT {table.tensorrt}); nothing was "
        f"trained on after a cut\n{belief(table.rank_correlation)}"
    )


def belief(correlation: float | None) -> str:
    """Whether the order of the units is to be believed, by the rank correlation of two halves of the scenes."""
    if correlation is None:
        return "rank correlation of two halves of the scenes: none, of so few scenes or equal losses"
    verdict = "at least" if correlation >= ENOUGH else "too little: take more --samples; below"
    return (
        f"rank correlation of the losses by two halves of the scenes (Spearman): {correlation:.2f}, {verdict} "
        f"{ENOUGH:g}"
    )


@dataclass(frozen=True)
class Drawn:
    """A unit in a picture: its label, its loss with the interval, and the milliseconds that the change saves."""

    unit: str
    label: str
    loss: float
    lower: float
    upper: float
    saved_ms: float

    @property
    def module(self) -> str:
        """What it is coloured by."""
        return self.unit.split(".")[0]


def draw_sensitivity(table: PruningSensitivity, out: Path, title: str) -> None:
    """What each unit lost at its largest ratio, sorted, and every cut's loss against the milliseconds it saves."""
    drawn = {
        (cut.unit, cut.ratio): Drawn(
            cut.unit, f"{cut.unit} ({cut.removed / cut.channels:.0%})", cut.loss, cut.lower, cut.upper, cut.saved_ms
        )
        for cut in table.cuts
    }
    last = {cut.unit: cut.ratio for cut in sorted(table.cuts, key=lambda cut: cut.ratio)}
    shown = [drawn[unit, ratio] for unit, ratio in last.items()]
    titles = "at the largest ratio, 95 % of scenes", "every cut"
    draw_losses(shown, list(drawn.values()), f"{table.figure} lost", table.device, titles, out, title)


def draw_losses(
    shown: Sequence[Drawn], every: Sequence[Drawn], lost: str, device: str, titles: tuple[str, str], out: Path,
    title: str,
) -> None:  # fmt: skip
    """Losses as bars, sorted, and losses against milliseconds saved, coloured by module.

    Args:
        shown: a bar each.
        every: a point each; those of `shown` that lose or save most are named.
        lost: label of the axis.
        device: whose milliseconds they are.
        titles: of the two axes.
        out: the file to write (PNG).
        title: of the picture.
    """
    from matplotlib.figure import Figure

    modules = list(dict.fromkeys(one.module for one in every))
    colour = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(modules)}
    shown = sorted(shown, key=lambda one: one.loss)
    figure = Figure(figsize=(13, max(4.0, 0.17 * len(shown) + 1.6)), layout="constrained")
    bars, points = figure.subplots(1, 2)
    for row, one in enumerate(shown):
        bars.barh(row, one.loss, color=colour[one.module], height=0.7)
        bars.plot([one.lower, one.upper], [row, row], color="#333333", lw=0.8)
    bars.set(yticks=range(len(shown)), xlabel=lost, title=titles[0], ylim=(-0.7, len(shown) - 0.3))
    bars.set_yticklabels([one.label for one in shown], fontsize=6)
    for name in modules:
        own = [one for one in every if one.module == name]
        style: dict[str, Any] = {"fmt": "o", "ms": 4, "lw": 0.6, "color": colour[name], "label": name}
        points.errorbar(
            [one.saved_ms for one in own], [one.loss for one in own],
            yerr=[[max(0.0, one.loss - one.lower) for one in own], [max(0.0, one.upper - one.loss) for one in own]],
            **style,
        )  # fmt: skip
    saving = sorted(shown, key=lambda one: -one.saved_ms)
    _name(points, [one for pair in list(zip(saving, reversed(shown), strict=True))[:NAMED] for one in pair])
    points.set(xlabel=f"ms saved, predicted ({device})", ylabel=lost, title=titles[1])
    for axes in (bars, points):
        axes.grid(color="#dddddd", lw=0.6)
        axes.set_axisbelow(True)
    points.legend(fontsize=7, frameon=False)
    figure.suptitle(title)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def _name(points: Any, named: Sequence[Drawn]) -> None:
    """Write names beside points, the first ones first; a name that would lie on another is left out."""
    (left, right), (bottom, top) = points.get_xlim(), points.get_ylim()
    written: list[tuple[float, float]] = []
    for one in dict.fromkeys(named):
        x, y = (one.saved_ms - left) / (right - left), (one.loss - bottom) / (top - bottom)
        if all(abs(y - other) > 0.03 or abs(x - beside) > 0.5 for beside, other in written):
            written.append((x, y))
            side, shift = ("left", 4) if x < 0.5 else ("right", -4)
            place = {"xytext": (shift, 3), "textcoords": "offset points", "ha": side}
            points.annotate(one.unit, (one.saved_ms, one.loss), fontsize=6, **place)
