"""What one DLA core would do with a network, in the terminal: the time, where each operator runs, and why not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from bevlite.reporting.sections import Section

if TYPE_CHECKING:
    from bevlite.latency.dla.prediction import DlaPrediction
    from bevlite.latency.predictor import GraphPrediction

FALLBACK_ROWS = 30


Predictions = Mapping[str, "DlaPrediction"]
OnGpu = Mapping[str, "GraphPrediction"]


def show_dla(predictions: Predictions, on_gpu: OnGpu, console: Console) -> None:
    """Print the modules by name, each on one DLA core, beside the same module on the GPU alone."""
    console.print(times(predictions, on_gpu).table())
    for name, prediction in predictions.items():
        console.print(placement(name, prediction).table(min_width=60))
        found = fallbacks(name, prediction)
        if not found.rows:
            console.print(f"{escape(name)}: nothing falls back to the GPU", soft_wrap=True)
        else:
            console.print(replace(found, rows=found.rows[:FALLBACK_ROWS]).table())
        if len(found.rows) > FALLBACK_ROWS:
            console.print(f"... and {len(found.rows) - FALLBACK_ROWS} more; all of them with --html FILE")
        for note in prediction.notes:
            console.print(f"note: {escape(f'{name}: {note}')}", soft_wrap=True)


def times(predictions: Predictions, on_gpu: OnGpu) -> Section:
    """What each module takes on one DLA core with what falls back, and on the GPU alone."""
    first = next(iter(predictions.values()))
    title = (
        f"One DLA core of {first.device}, {first.precision}, {first.power_mode}, TensorRT {first.tensorrt} (predicted)"
    )
    names = ("module", "ms", "from", "to", "on DLA", "on GPU", "handing over", "loadables", "GPU alone", "from", "to")
    rows = []
    for name, p in predictions.items():
        gpu = on_gpu[name]
        whole = (p.latency_ms, p.lower_ms, p.upper_ms, p.dla_ms, p.gpu_ms, p.crossing_ms)
        alone = (gpu.latency_ms, gpu.lower_ms, gpu.upper_ms)
        rows.append((name, *(f"{v:.2f}" for v in whole), str(p.placement.loadables), *(f"{v:.2f}" for v in alone)))
    return Section(title, names, rows, range(1, len(names)))


def placement(name: str, prediction: DlaPrediction) -> Section:
    """How many nodes of each operator run where; those that fall back first."""
    counts: dict[str, list[int]] = {}
    for node in prediction.placement.nodes:
        counts.setdefault(node.op, [0, 0])[node.unit == "GPU"] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1][1], -item[1][0]))
    rows = [(op, str(dla), str(gpu)) for op, (dla, gpu) in ordered]
    return Section(f"{name}: where the nodes run (predicted)", ("operator", "on DLA", "on GPU"), rows, (1, 2))


def fallbacks(name: str, prediction: DlaPrediction) -> Section:
    """One row for the nodes of one operator that fall back for the same reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for node in prediction.placement.fallbacks:
        groups.setdefault((node.op, node.reason), []).append(node.name)
    rows = [(op, str(len(nodes)), nodes[0], reason) for (op, reason), nodes in groups.items()]
    return Section(f"{name}: what falls back to the GPU", ("operator", "nodes", "first of them", "why"), rows, (1,))
