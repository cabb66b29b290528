"""The report's figures are found by optuna-dashboard's own reader of a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from search.report.report import figures_of, write_report
from search.study.store import open_for_reading
from search.study.view import load_study
from tests.search.fakes import run_study


def test_figures_of_the_report(tmp_path: Path) -> None:
    data = pytest.importorskip("optuna_dashboard._custom_plot_data", reason="optuna-dashboard is not installed")
    study, _ = run_study(tmp_path)
    view = load_study(study.folder)
    for _ in range(2):  # those of an earlier report are replaced
        write_report(view)
    shown = open_for_reading(view.folder, None)
    held = shown._storage.get_study_system_attrs(shown._study_id)
    found = data.get_plotly_graph_objects(held)
    wanted = {name: figure for name, figure in figures_of(view).items() if figure is not None}
    assert sorted(found) == sorted(wanted) and "rungs" in found
    for name, text in found.items():
        assert len(json.loads(text)["data"]) == len(wanted[name].data) > 0
