"""What was measured here beside what is predicted for a board, as text, as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.reporting.analysis import aligned

if TYPE_CHECKING:
    from bevlite.analysis.profile import Profile, Timing
    from bevlite.devices.report.latency import Interval, LatencyReport

MOST_LAYERS = 40
"""Of a picture: those that take longest."""


@dataclass(frozen=True)
class Profiled:
    """Two kinds of figures that are not to be mixed.

    measured: on the device at hand. predicted: by module, for engines on a board, one frame (None where none was
    asked for); predicted_layers: by path, ms. board: its name, with the TensorRT version.
    """

    measured: Profile
    predicted: Mapping[str, Interval] | None
    predicted_layers: Mapping[str, float] | None
    board: str

    @classmethod
    def of(cls, measured: Profile, report: LatencyReport | None, layers: Mapping[str, float] | None) -> Profiled:
        """Join a measurement and a report of kind `predicted`."""
        if report is None:
            return cls(measured, None, None, "")
        rows: dict[str, Interval] = {row.name: row for row in report.modules}
        return cls(measured, rows, layers, f"{report.device}, TensorRT {report.conditions.tensorrt}")

    def predicted_ms(self, timing: Timing) -> tuple[float, float, float] | None:
        """Middle, lower and upper end of a module or layer (which has no interval of its own) on the board.

        The network is the sum of its modules.
        """
        if self.predicted is None:
            return None
        if timing.kind == "layer":
            ms = (self.predicted_layers or {}).get(timing.name)
            return None if ms is None else (ms, ms, ms)
        rows = [self.predicted[timing.name]] if timing.kind == "module" else list(self.predicted.values())
        return (
            sum(row.latency_ms for row in rows), sum(row.lower_ms for row in rows), sum(row.upper_ms for row in rows)
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Header, and a row a timing with what is predicted beside it."""
        head = {key: value for key, value in asdict(self.measured).items() if key != "timings"}
        rows = []
        for timing in self.measured.timings:
            row = asdict(timing)
            found = self.predicted_ms(timing)
            if found is not None:
                ends = {"lower_ms": found[1], "upper_ms": found[2]} if timing.kind != "layer" else {}
                row["on_board"] = {"kind": "predicted", "board": self.board, "latency_ms": found[0], **ends}
            rows.append(row)
        return head | {"timings": rows}


def profile_words(found: Profiled) -> str:
    """Under what was measured, and what the figures are not."""
    one = found.measured
    cuda = f", CUDA {one.cuda}, convolutions {'in TF32' if one.tf32 else 'in FP32'}" if one.cuda else ""
    how = f"{one.precision} by autocast" if one.precision != "fp32" else one.precision
    lines = [
        f"measured on this device: {one.device}, {one.threads} threads, torch {one.torch}{cuda}",
        f"{how}, batch {one.batch}, {one.repeats} runs after {one.warmup} to warm up; inputs: {one.inputs}",
    ]
    if found.predicted is not None:
        lines.append(
            f"the last column is predicted for engines ({found.board}), one frame: no figure of it was measured"
        )
    slow = [timing.name for timing in one.of("module") if not timing.at_once]
    if slow:
        lines.append(f"one frame after the other, as its tables are of one frame: {', '.join(slow)}")
    if one.of("layer"):
        lines.append("layers: in runs of their own, each with the time that watching it takes")
    return "\n".join(lines)


def profile_table(found: Profiled) -> str:
    """A line for the network, each module, each layer: milliseconds of a batch, and frames a second."""
    head = ["", "mean", "median", "min", "max", "std", "P95", "P99", "FPS"]
    head += ["predicted ms"] if found.predicted is not None else []
    lines = []
    for timing in found.measured.timings:
        indent = {"network": "", "module": "  ", "layer": "    "}[timing.kind]
        ms = (
            timing.mean_ms,
            timing.median_ms,
            timing.min_ms,
            timing.max_ms,
            timing.std_ms,
            timing.p95_ms,
            timing.p99_ms,
        )
        line = [
            f"{indent}{timing.name}",
            *(f"{value:.3f}" for value in ms),
            f"{timing.fps:.1f}" if timing.kind != "layer" else "-",
        ]
        if found.predicted is not None:
            there = found.predicted_ms(timing)
            if there is None:
                line.append("-")
            else:
                line.append(
                    f"{there[0]:.3f}"
                    if timing.kind == "layer"
                    else f"{there[0]:.2f} ({there[1]:.2f} to {there[2]:.2f})"
                )
        lines.append(line)
    return aligned([head, *lines])


def draw_profile(found: Profiled, out: Path, name: str) -> None:
    """Medians with what lies below P95, beside the predicted intervals; the slowest layers in a panel below."""
    from matplotlib.figure import Figure

    one = found.measured
    rows = [*one.of("network"), *one.of("module")]
    layers = sorted(one.of("layer"), key=lambda timing: -timing.median_ms)[:MOST_LAYERS]
    heights = [0.5 * len(rows) + 1.2, *([0.17 * len(layers) + 0.8] if layers else [])]
    figure = Figure(figsize=(10, sum(heights) + 0.8), layout="constrained")
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _bars(
        panels[0], rows, f"measured: {one.device}, {one.precision}, batch {one.batch} (bar: median, line: min to P95)"
    )
    if found.predicted is not None:
        for row, timing in enumerate(rows):
            there = found.predicted_ms(timing)
            if there is not None:
                low, high = there[0] - there[1], there[2] - there[0]
                label = f"predicted: {found.board} (line: interval)" if row == 0 else None
                panels[0].barh(row + 0.2, there[0], height=0.36, color="#c05a00", label=label)
                panels[0].errorbar(there[0], row + 0.2, xerr=[[max(0, low)], [max(0, high)]], color="#333333", lw=0.8)
    panels[0].legend(fontsize=7, frameon=False, loc="lower right")
    if layers:
        _bars(panels[1], layers, f"the {len(layers)} layers that take longest, measured")
        panels[1].set_title(f"the {len(layers)} layers that take longest, measured", fontsize=8)
    figure.suptitle(f"{name}: what was measured here is no figure of a board", fontsize=10)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def _bars(axes: Any, rows: list[Timing], label: str) -> None:
    network = rows[0].kind != "layer"
    for row, timing in enumerate(rows):
        place, height = (row - 0.2, 0.36) if network else (float(row), 0.7)
        axes.barh(place, timing.median_ms, height=height, color="#12325c", label=label if row == 0 else None)
        axes.plot([timing.min_ms, timing.p95_ms], [place, place], color="#9db7d5", lw=1.2)
    axes.set(yticks=range(len(rows)), xlabel="ms", ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticklabels([timing.name for timing in rows], fontsize=8 if network else 6)
    axes.grid(axis="x", color="#dddddd", lw=0.6)
    axes.set_axisbelow(True)
