"""What `--compare` and `--dla` leave in files: the same as they print, as a page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from bevlite.config import write_atomic
from bevlite.devices.report.latency import LatencyReport
from bevlite.reporting.latency_compare import labels_of, note_lines, sections, total_line, verdict
from bevlite.reporting.latency_dla import OnGpu, Predictions, fallbacks, placement, times
from bevlite.reporting.latency_page import facts_of
from bevlite.reporting.latency_text import headline
from bevlite.reporting.page import HERE, made, render_page
from bevlite.reporting.sections import Section

if TYPE_CHECKING:
    from bevlite.latency.dla.prediction import DlaPrediction
    from bevlite.latency.predictor import GraphPrediction

TEMPLATE = HERE / "tables_page.html.j2"


def write_comparison(
    first: LatencyReport, second: LatencyReport, names: tuple[str, str], json_path: Path | None, html_path: Path | None
) -> None:
    """Write two reports side by side to the files that are given."""
    labels = labels_of(names)
    if json_path is not None:
        both = {name: report.model_dump(mode="json") for name, report in zip(("a", "b"), (first, second), strict=True)}
        difference_ms = second.total_ms - first.total_ms
        words = {"names": names, "difference_ms": difference_ms, "verdict": verdict(first, second, labels)}
        _write_json(json_path, words | {"tables": _tables(sections(first, second))} | both)
    if html_path is not None:
        totals = [f"{label}: {_plain(headline(r))}" for label, r in zip(labels, (first, second), strict=True)]
        page = render_page(
            TEMPLATE,
            _common(facts_of(first), facts_of(second)),
            emulated="emulated" in (first.kind, second.kind),
            title=f"{names[0]} against {names[1]}: latency",
            lead=[*totals, total_line(first, second), *verdict(first, second, labels)],
            sections=sections(first, second),
            notes=note_lines(first, second),
        )
        write_atomic(html_path, page)


def write_dla(
    predictions: Predictions, on_gpu: OnGpu, title: str, json_path: Path | None, html_path: Path | None
) -> None:
    """Write what one DLA core would do with the modules of a network to the files that are given."""
    if json_path is not None:
        modules = {name: _dla_values(found, on_gpu[name]) for name, found in predictions.items()}
        _write_json(json_path, {"kind": "predicted", "modules": modules})
    if html_path is not None:
        first, gpu = next(iter(predictions.values())), next(iter(on_gpu.values()))
        parts = [part for name, p in predictions.items() for part in (placement(name, p), fallbacks(name, p))]
        facts = {
            "device": f"{first.device}, one DLA core",
            "power mode": first.power_mode,
            "precision": first.precision,
            "TensorRT": first.tensorrt,
            "predictor": gpu.predictor,
        }
        page = render_page(
            TEMPLATE,
            facts,
            title=f"{title}: latency on the DLA",
            lead=["Predicted: nothing was measured."],
            sections=[times(predictions, on_gpu), *parts],
            notes=[f"{name}: {note}" for name, p in predictions.items() for note in p.notes],
        )
        write_atomic(html_path, page)


def _dla_values(found: DlaPrediction, gpu: GraphPrediction) -> dict[str, Any]:
    names = ("latency_ms", "lower_ms", "upper_ms", "dla_ms", "gpu_ms", "crossing_ms", "product_share")
    alone = {name: getattr(gpu, name) for name in ("latency_ms", "lower_ms", "upper_ms")}
    conditions = {name: getattr(found, name) for name in ("device", "power_mode", "tensorrt", "precision")}
    return {
        **conditions,
        **{name: getattr(found, name) for name in names},
        "gpu_alone": alone,
        "loadables": found.placement.loadables,
        "nodes": [asdict(node) for node in found.placement.nodes],
        "notes": list(found.notes),
    }


def _tables(parts: list[Section]) -> list[dict[str, Any]]:
    return [
        {"title": part.title, "columns": list(part.columns), "rows": [list(r) for r in part.rows]} for part in parts
    ]


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_atomic(path, json.dumps(made() | dict(data), indent=2) + "\n")


def _plain(markup: str) -> str:
    return Text.from_markup(markup).plain


def _common(first: Mapping[str, object], second: Mapping[str, object]) -> dict[str, object]:
    """Facts of both; where they differ, one after the other."""
    return {name: v if v == second.get(name) else f"{v} / {second.get(name)}" for name, v in first.items()}
