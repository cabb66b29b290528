"""What an analysis found, as text and as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bevlite.analysis.complexity import LayerCost
    from bevlite.analysis.ranges import LayerRange
    from bevlite.analysis.weights import LayerWeights

INT8_STEPS = 127


def complexity_table(rows: Sequence[LayerCost], predicted_ms: Mapping[str, float] | None = None) -> str:
    """A line a layer or part: parameters, multiply-adds and their share, MB of weights and maps in FP16, ms.

    Args:
        rows: layers, or sums by part.
        predicted_ms: of each row by path, where it was predicted; paths without a row stand at the end.
    """
    head = ["layer" if any(row.kind for row in rows) else "part", "params [M]", "MACs [G]", "share", "weights [MB]",
            "maps [MB]", "ms"]  # fmt: skip
    total = max(1, sum(row.macs for row in rows))
    ms = predicted_ms or {}
    lines = [
        [
            row.path, f"{row.parameters / 1e6:.3f}", f"{row.macs / 1e9:.2f}", f"{row.macs / total:.1%}",
            f"{row.weight_bytes('fp16') / 1e6:.2f}", f"{row.activation_bytes('fp16') / 1e6:.2f}",
            f"{ms.get(row.path, 0.0):.3f}",
        ]
        for row in rows
    ]  # fmt: skip
    shown = {row.path for row in rows}
    lines += [[path, *["-"] * 5, f"{cost:.3f}"] for path, cost in ms.items() if path not in shown]
    sums = (sum(row.weight_bytes("fp16") for row in rows), sum(row.activation_bytes("fp16") for row in rows))
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    end = ["total", f"{parameters / 1e6:.3f}", f"{macs / 1e9:.2f}", "", *(f"{size / 1e6:.2f}" for size in sums)]
    lines.append([*end, f"{sum(ms.values()):.3f}"])
    table = [head, *lines]
    return aligned(table if predicted_ms is not None else [line[:-1] for line in table])


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Columns side by side, the first to the left, all others to the right; never cut to the width of a terminal."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) if place else cell.ljust(width)
                  for place, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in table
    ]  # fmt: skip
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def sizes_line(rows: Sequence[LayerCost]) -> str:
    """The size of all weights in each precision."""
    sizes = [f"{sum(r.weight_bytes(p) for r in rows) / 1e6:.2f} MB in {p.upper()}" for p in ("fp32", "fp16", "int8")]
    return f"weights: {', '.join(sizes)}; the table is in FP16, for one frame"


def weights_table(rows: Sequence[LayerWeights]) -> str:
    """A line a layer: sizes of its weights, share near zero, its weakest channel, dead ones."""
    head = ["layer", "kind", "weights", "min", "max", "std", "near zero", "weakest channel", "dead"]
    lines = [
        [
            one.path, one.kind, str(one.parameters), f"{one.minimum:.3g}", f"{one.maximum:.3g}", f"{one.std:.3g}",
            f"{one.near_zero:.1%}", f"{one.weakest:.3g} x median", f"{one.dead} of {one.channels}",
        ]
        for one in rows
    ]  # fmt: skip
    return aligned([head, *lines])


def ranges_table(ranges: Sequence[LayerRange]) -> str:
    """A line a layer: largest values, room in FP16, bits of INT8 that outliers cost, silent channels; `!` is a risk."""
    head = ["layer", "", "weights", "takes", "99.9 % below", "gives", "room in FP16", "INT8 bits lost", "silent"]
    lines = [
        [
            one.path, "!" if one.overflows else "", f"{one.weight:.3g}", f"{one.taken:.3g}",
            f"{one.typical:.3g}" if one.typical else "-", f"{one.given:.3g}",
            f"{one.headroom:.3g} x" if one.finite else "not finite", f"{one.lost_bits:.1f}" if one.typical else "-",
            f"{one.silent} of {one.channels}" if one.channels else "-",
        ]
        for one in ranges
    ]  # fmt: skip
    return aligned([head, *lines])


def draw_ranges(ranges: Sequence[LayerRange], out: Path, title: str, fp16_max: float) -> None:
    """The largest value that each layer gives and takes, beside what FP16 can hold, and one step of INT8."""
    from matplotlib.figure import Figure

    shown = [one for one in ranges if one.typical > 0]
    figure = Figure(figsize=(11, max(3.0, 0.16 * len(shown) + 1.6)), layout="constrained")
    axes = figure.subplots()
    rows = list(range(len(shown)))
    axes.hlines(rows, [max(o.taken / INT8_STEPS, 1e-6) for o in shown], [o.taken for o in shown], color="#9db7d5", lw=4,
                label="INT8: one step to the largest value")  # fmt: skip
    points: dict[str, Any] = {"s": 14, "zorder": 3}
    axes.scatter([o.typical for o in shown], rows, color="#12325c", label="99.9 % of what it takes is below", **points)
    axes.scatter([o.given for o in shown], rows, color="#c05a00", marker="D", label="largest value it gives", **points)
    axes.axvline(fp16_max, color="#b00020", lw=1.2, label=f"FP16: {fp16_max:.0f}")
    axes.set(xscale="log", yticks=rows, xlabel="absolute value", title=title, ylim=(len(shown) - 0.5, -0.5))
    axes.set_yticklabels([o.path for o in shown], fontsize=6)
    for label, one in zip(axes.get_yticklabels(), shown, strict=True):
        if one.overflows:
            label.set_color("#b00020")
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    figure.legend(loc="outside upper center", ncols=4, fontsize=7, frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)
