"""The report of a study: one HTML file that opens without a network, and the files beside it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs

from bevlite.config import to_yaml, write_atomic
from bevlite.latency.coefficients import predictor_name
from bevlite.reporting.page import data_set, render_page
from search.report.dashboard import show_on_dashboard
from search.report.plots import effects_figure, pareto_figure, rungs_figure, write_pareto_png
from search.report.tables import pareto_rows, trial_rows, write_csv
from search.report.words import gain_lines, no_winner, race_line
from search.study.outcome import Outcome, budget_words
from search.study.view import StudyView
from search.study.winner import read_result, write_winner_yaml

PACKAGES = ("bevlite", "optuna", "torch", "lightning", "numpy", "nuscenes-devkit", "onnx")
KIND_WORDS = {
    "predicted": "computed by BEVLite's model of the board; nothing was measured",
    "measured": "measured on the device",
    "emulated": "answered by the emulated device; never counted as measured",
}


def write_report(view: StudyView) -> Path:
    """Write report.html, both tables, pareto.png and, if there is one, winner.yaml; returns the report."""
    folder, outcome = view.folder, view.outcome
    write_csv(folder / "pareto.csv", outcome.pareto)
    write_csv(folder / "trials.csv", outcome.records)
    write_pareto_png(outcome, view.label, folder / "pareto.png")
    if outcome.choice is not None:
        write_winner_yaml(view, folder / "winner.yaml")
    report = folder / "report.html"
    write_atomic(report, render(view))
    show_on_dashboard(view, figures_of(view))
    return report


def figures_of(view: StudyView) -> dict[str, Any]:
    """Plotly figures by name: accuracy against latency, curves, what each choice does; None where nothing is shown."""
    return {
        "pareto": pareto_figure(view.outcome, view.label),
        "rungs": rungs_figure(view.outcome, view.label),
        "effects": effects_figure(view.outcome, view.label),
    }


def render(view: StudyView) -> str:
    """The report as HTML."""
    label, outcome = view.label, view.outcome
    kinds = _kinds(outcome)
    return render_page(
        Path(__file__).parent / "report.html.j2",
        _facts(view),
        emulated="emulated" in kinds,
        title=f"Search within {outcome.budget_ms:g} ms",
        outcome=outcome,
        label=label,
        tasks=view.tasks,
        config=view.config,
        headline=_headline(view),
        kinds=kinds,
        pareto=pareto_rows(outcome, label),
        trials=trial_rows(outcome, label),
        figures={name: _html(figure) for name, figure in figures_of(view).items() if figure is not None},
        plotly_js=get_plotlyjs(),
        winner_yaml=to_yaml(view.winner_variant) if outcome.choice is not None else "",
        search_yaml=view.search_file.read_text(encoding="utf-8"),
        versions={"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    )


def _facts(view: StudyView) -> dict[str, object]:
    """Under what the figures of a search hold."""
    config, device = view.config, view.config.device
    data = config.data if isinstance(config.data, dict) else {"root": config.data}
    kinds = {record.latency.kind for record in view.outcome.records if record.latency is not None}
    return {
        "data set": data_set(data.get("root"), data.get("version"), view.outcome.where),
        "device": device.title,
        "power mode": device.power_mode or ("that of the board" if device.measures else "the highest"),
        "precision": device.precision or "each network's own",
        "TensorRT": "that of the board" if device.measures else device.tensorrt,
        "latencies": ", ".join(sorted(kinds)),
        "predictor": predictor_name(device.coefficients()) if "predicted" in kinds else None,
    }


def _headline(view: StudyView) -> dict[str, Any]:
    outcome = view.outcome
    if outcome.choice is None:
        return {"found": False, "text": no_winner(view)}
    record, winner = outcome.choice
    final = read_result(view.folder)
    if final is not None and final.trial != record.number:
        final = None
    return {
        "found": True,
        "record": record,
        "certainty": budget_words(record, winner),
        "flagged": winner.flagged,
        "final": final,
        "other": outcome.more_accurate,
        "race": race_line(view),
        "gains": gain_lines(view),
    }


def _kinds(outcome: Outcome) -> dict[str, tuple[int, str]]:
    counts: dict[str, int] = {}
    for record in outcome.records:
        if record.latency is not None:
            counts[record.latency.kind] = counts.get(record.latency.kind, 0) + 1
    return {kind: (count, KIND_WORDS[kind]) for kind, count in counts.items()}


def _html(figure: Any) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
