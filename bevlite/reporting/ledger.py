"""The ledger of a run as text, and as a picture: accuracy and milliseconds from stage to stage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.reporting.analysis import aligned

if TYPE_CHECKING:
    from bevlite.compression.ledger import Line


NOTE: Any = {"textcoords": "offset points", "ha": "center", "fontsize": 7}


def ledger_table(lines: Sequence[Line]) -> str:
    """A line a stage and backend: accuracies, what was lost, parameters, multiply-adds, weights, predicted ms."""
    names = list(dict.fromkeys(name for line in lines for name in line.scores))
    head = ["stage", *names, "lost", "params [M]", "MACs [G]", "weights [MB]", "ms, predicted", ""]
    rows = [
        [
            line.name, *(f"{line.scores[name]:.4f}" if name in line.scores else "-" for name in names),
            _lost(line),
            f"{line.parameters / 1e6:.3f}", f"{line.macs / 1e9:.2f}", f"{line.weight_mb:.2f}",
            f"{line.predicted_ms:.2f}" if line.predicted_ms is not None else "-", "over" if line.over else "",
        ]
        for line in lines
    ]  # fmt: skip
    return aligned([head, *rows])


def _lost(line: Line) -> str:
    if line.lost is None or line.name == "float":
        return "-"
    if line.lost_range is None:
        return f"{line.lost:.1%}"
    lower, upper = line.lost_range
    return f"{line.lost:.1%} [{lower:.1%}, {upper:.1%}]"


def draw_ledger(lines: Sequence[Line], out: Path, title: str, allowed: float) -> None:
    """Accuracies beside the most that may be lost, and predicted milliseconds, stage by stage; lines are 95 % of draws
    of scenes."""
    from matplotlib.figure import Figure

    shown = [line for line in lines if "without" not in line.name]
    names = list(dict.fromkeys(name for line in shown for name in line.scores))
    timed = any(line.predicted_ms is not None for line in shown)
    figure = Figure(figsize=(max(6.0, 1.5 * len(shown) + 2), 3.2 * (1 + timed)), layout="constrained")
    grid: Any = figure.subplots(1 + timed, 1, squeeze=False)
    places = list(range(len(shown)))
    accuracy = grid[0][0]
    colours = ["#12325c", "#c05a00", "#2f7d4f", "#7a3f98"]
    for name, colour in zip(names, colours, strict=False):
        own = [(place, line.scores[name]) for place, line in zip(places, shown, strict=True) if name in line.scores]
        accuracy.plot(*zip(*own, strict=True), marker="o", color=colour, label=name)
        ranges = [line.intervals.get(name) for line in shown if name in line.scores]
        for (place, value), ends in zip(own, ranges, strict=True):
            if ends is not None:
                accuracy.vlines(place, *ends, color=colour, lw=1.2, alpha=0.6)
            accuracy.annotate(
                f"{value:.3f}", (place, value), (0, 6), textcoords="offset points", ha="center", fontsize=7
            )
        start = next((line.scores[name] for line in shown if line.name == "float" and name in line.scores), None)
        if start is not None:
            accuracy.axhline(start * (1 - allowed), color=colour, lw=0.8, ls="--")
    accuracy.plot([], [], color="#555555", lw=0.8, ls="--", label=f"{allowed:.1%} below float")
    accuracy.set(title=title, ylabel="accuracy", xlim=(-0.5, len(shown) - 0.5))
    accuracy.margins(y=0.2)
    accuracy.legend(fontsize=7, frameon=False, ncols=4, loc="lower left")
    if timed:
        times = grid[1][0]
        values = [line.predicted_ms or 0.0 for line in shown]
        times.bar(places, values, color="#9db7d5", width=0.5)
        for place, value in zip(places, values, strict=True):
            times.annotate(f"{value:.2f}", (place, value), (0, 3), **NOTE)
        times.set(ylabel="ms, predicted", xlim=(-0.5, len(shown) - 0.5))
        times.margins(y=0.15)
    for axes in figure.axes:
        axes.set_xticks(places, [line.name for line in shown], fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
