"""The precision map: every layer of a network as a bar, by what it computes in, why, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bevlite.compression.precision_map import LayerPrecision

INT8, FP32 = "#12325c", "#b00020"
FP16 = ("#f2b705", "#e07b39", "#2f7d4f", "#8a3b8f", "#5fb3b3", "#d98cb3", "#7a7a7a", "#a3a33a", "#c9a27e", "#b0b0d8")
"""One for each reason."""
WIDTH_IN, LABELS_PT = 14.0, 6.0
STRIP = 0.06
"""Height of the cells below the bars, which show layers that take next to no time, as a share of the axes."""


def draw_precision_map(rows: Sequence[LayerPrecision], out: Path, title: str, device: str) -> None:
    """One row of bars a module, in the order of execution.

    Args:
        rows: layers.
        out: the file to write (PNG).
        title: of the picture.
        device: whose milliseconds they are.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    kinds = _kinds(rows)
    modules = list(dict.fromkeys(row.module for row in rows))
    figure = Figure(figsize=(WIDTH_IN, 2.9 * len(modules) + 0.6 + 0.2 * len(kinds)), layout="constrained")
    for axes, module in zip(figure.subplots(len(modules), 1, squeeze=False)[:, 0], modules, strict=True):
        own = [row for row in rows if row.module == module]
        _draw_module(axes, module, own, [kinds[_kind(row)] for row in own])
    handles = [Patch(color=colour, label=_label(kind, rows)) for kind, colour in kinds.items()]
    figure.legend(
        handles=handles, loc="outside lower left", ncols=2 if len(handles) > 4 else 1, fontsize=8, frameon=False
    )
    figure.suptitle(f"{title} (ms: predicted, {device})")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def _draw_module(axes: Any, module: str, rows: Sequence[LayerPrecision], colours: Sequence[str]) -> None:
    places = range(len(rows))
    axes.bar(places, [row.ms for row in rows], color=colours, width=0.85)
    # Cells from edge to edge: a bar of no height has no colour.
    across = axes.get_xaxis_transform()
    axes.bar(places, [STRIP] * len(rows), bottom=-STRIP, color=colours, width=1.0, transform=across, clip_on=False)
    eight = sum(row.word == "int8" for row in rows)
    ms = sum(row.ms for row in rows)
    axes.set_title(
        f"{module}: {eight} of {len(rows)} layers in INT8, {ms:.3g} ms in these layers", fontsize=9, loc="left"
    )
    # So many names fit side by side at their size.
    step = max(1, round(len(rows) * LABELS_PT * 1.15 / (WIDTH_IN * 72 * 0.9)))
    shown = list(places)[::step]
    axes.set_xticks(shown)
    axes.set_xticklabels(
        [rows[place].path.removeprefix(f"{module}.") for place in shown], rotation=90, fontsize=LABELS_PT
    )  # fmt: skip
    axes.tick_params(axis="x", length=0, pad=10)
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlim=(-0.6, max(len(rows), 8) - 0.4), ylim=(0, max(max(row.ms for row in rows), 1e-6) * 1.08))
    axes.set_ylabel("ms", fontsize=8)
    axes.set_xlabel("layers in the order of execution", fontsize=7)
    axes.grid(axis="y", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _kind(row: LayerPrecision) -> tuple[str, str]:
    """What it is coloured by."""
    return row.word, row.why if row.word == "fp16" else ""


def _kinds(rows: Sequence[LayerPrecision]) -> dict[tuple[str, str], str]:
    """Colours: INT8, FP32, and FP16 by reason, the most frequent first; rare reasons share the last colour."""
    found = [_kind(row) for row in rows]
    reasons = sorted({kind for kind in found if kind[0] == "fp16"}, key=lambda kind: -found.count(kind))
    fixed = {("int8", ""): INT8, ("fp32", ""): FP32}
    colours = {kind: colour for kind, colour in fixed.items() if kind in found}
    return colours | {kind: FP16[min(place, len(FP16) - 1)] for place, kind in enumerate(reasons)}


def _label(kind: tuple[str, str], rows: Sequence[LayerPrecision]) -> str:
    own = [row for row in rows if _kind(row) == kind]
    word, why = kind
    return f"{word.upper()}{', ' + why if why else ''}: {len(own)} layer{'s' * (len(own) != 1)}, {_ms(own):.3g} ms"


def _ms(rows: Sequence[LayerPrecision]) -> float:
    return sum(row.ms for row in rows)
