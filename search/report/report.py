"""The report of a study: one HTML file that opens without a network, and the files beside it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from bevlite.config import as_dict, to_yaml, write_atomic
from search.config import ResolvedSearch
from search.report.outcome import Outcome, budget_words, no_feasible
from search.report.plots import effects_figure, pareto_figure, rungs_figure, write_pareto_png
from search.report.tables import pareto_rows, trial_rows, write_csv
from search.study.winner import read_result, winner_variant, write_winner_yaml

PACKAGES = ("bevlite", "optuna", "torch", "lightning", "numpy", "nuscenes-devkit", "onnx")
KIND_WORDS = {
    "predicted": "computed by BEVLite's model of the board; nothing was measured",
    "measured": "measured on the device",
    "emulated": "answered by the emulated device; never counted as measured",
}


def write_report(search: ResolvedSearch, outcome: Outcome, folder: Path) -> Path:
    """Write report.html, both tables, pareto.png and, if there is one, winner.yaml; returns the report."""
    label = search.config.objectives.label
    write_csv(folder / "pareto.csv", outcome.pareto)
    write_csv(folder / "trials.csv", outcome.records)
    write_pareto_png(outcome, label, folder / "pareto.png")
    if outcome.choice is not None:
        write_winner_yaml(search, outcome, folder / "winner.yaml")
    report = folder / "report.html"
    write_atomic(report, render(search, outcome, folder))
    return report


def render(search: ResolvedSearch, outcome: Outcome, folder: Path) -> str:
    """The report as HTML."""
    label = search.config.objectives.label
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.get_template("report.html.j2")
    figures = {
        "pareto": pareto_figure(outcome, label),
        "rungs": rungs_figure(outcome, label),
        "effects": effects_figure(outcome, label),
    }
    return template.render(
        title=f"Search within {outcome.budget_ms:g} ms",
        outcome=outcome,
        label=label,
        search=search,
        config=search.config,
        headline=_headline(search, outcome, folder),
        kinds=_kinds(outcome),
        pareto=pareto_rows(outcome, label),
        trials=trial_rows(outcome, label),
        figures={name: _html(figure) for name, figure in figures.items() if figure is not None},
        plotly_js=get_plotlyjs(),
        winner_yaml=to_yaml(winner_variant(search, outcome)) if outcome.choice is not None else "",
        search_yaml=search.as_yaml(),
        objectives=as_dict(search.config.objectives),
        versions={"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
    )


def _headline(search: ResolvedSearch, outcome: Outcome, folder: Path) -> dict[str, Any]:
    if outcome.choice is None:
        return {"found": False, "text": no_feasible(outcome, search.config.objectives.label)}
    record, winner = outcome.choice
    final = read_result(folder)
    if final is not None and final.trial != record.number:
        final = None
    other = outcome.more_accurate
    return {
        "found": True,
        "record": record,
        "certainty": budget_words(record, winner),
        "flagged": winner.flagged,
        "final": final,
        "other": other,
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
