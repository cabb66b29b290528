"""What one DLA core would do with a network, in the terminal: the time, where each operator runs, and why not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from bevlite.latency.dla.prediction import DlaPrediction
    from bevlite.latency.predictor import GraphPrediction

FALLBACK_ROWS = 30


def show_dla(predictions: Mapping[str, DlaPrediction], on_gpu: Mapping[str, GraphPrediction], console: Console) -> None:
    """Print the modules by name, each on one DLA core, beside the same module on the GPU alone."""
    console.print(_times(predictions, on_gpu))
    for name, prediction in predictions.items():
        console.print(_placement(name, prediction))
        _fallbacks(name, prediction, console)
        for note in prediction.notes:
            console.print(f"note: {escape(f'{name}: {note}')}", soft_wrap=True)


def _times(predictions: Mapping[str, DlaPrediction], on_gpu: Mapping[str, GraphPrediction]) -> Table:
    first = next(iter(predictions.values()))
    title = (
        f"One DLA core of {first.device}, {first.precision}, {first.power_mode}, TensorRT {first.tensorrt} (predicted)"
    )
    names = ("module", "ms", "from", "to", "on DLA", "on GPU", "handing over", "loadables", "GPU alone", "from", "to")
    table = Table(*names, title=title, box=SIMPLE_HEAD, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, p in predictions.items():
        gpu = on_gpu[name]
        whole = (p.latency_ms, p.lower_ms, p.upper_ms, p.dla_ms, p.gpu_ms, p.crossing_ms)
        alone = (gpu.latency_ms, gpu.lower_ms, gpu.upper_ms)
        cells = [f"{v:.2f}" for v in whole] + [str(p.placement.loadables)] + [f"{v:.2f}" for v in alone]
        table.add_row(escape(name), *cells)
    return table


def _placement(name: str, prediction: DlaPrediction) -> Table:
    counts: dict[str, list[int]] = {}
    for node in prediction.placement.nodes:
        counts.setdefault(node.op, [0, 0])[node.unit == "GPU"] += 1
    title = f"{escape(name)}: where the nodes run (predicted)"
    table = Table("operator", "on DLA", "on GPU", title=title, box=SIMPLE_HEAD, title_justify="left", min_width=60)
    for column in table.columns[1:]:
        column.justify = "right"
    for op, (dla, gpu) in sorted(counts.items(), key=lambda item: (-item[1][1], -item[1][0])):
        table.add_row(op, str(dla), str(gpu))
    return table


def _fallbacks(name: str, prediction: DlaPrediction, console: Console) -> None:
    """One row for the nodes of one operator that fall back for the same reason."""
    rows: dict[tuple[str, str], list[str]] = {}
    for node in prediction.placement.fallbacks:
        rows.setdefault((node.op, node.reason), []).append(node.name)
    if not rows:
        console.print(f"{escape(name)}: nothing falls back to the GPU", soft_wrap=True)
        return
    title = f"{escape(name)}: what falls back to the GPU"
    table = Table("operator", "nodes", "first of them", "why", title=title, box=SIMPLE_HEAD, title_justify="left")
    table.columns[1].justify = "right"
    for (op, reason), nodes in list(rows.items())[:FALLBACK_ROWS]:
        table.add_row(escape(op), str(len(nodes)), escape(nodes[0]), escape(reason))
    console.print(table)
    if len(rows) > FALLBACK_ROWS:
        console.print(f"... and {len(rows) - FALLBACK_ROWS} more")
