"""The report's figures in optuna-dashboard, which shows no curves of two objectives itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search.study.store import open_for_reading
from search.study.view import StudyView


def show_on_dashboard(view: StudyView, figures: Mapping[str, Any]) -> None:
    """Leave figures with the study, where optuna-dashboard finds them; nothing where that is not installed.

    Args:
        view: the study.
        figures: Plotly figures by name; those that are None are left out. Those of an earlier report are replaced.
    """
    try:
        from optuna_dashboard import save_plotly_graph_object
    except ImportError:
        return
    study = open_for_reading(view.folder, view.config.storage)
    for name, figure in figures.items():
        if figure is not None:
            save_plotly_graph_object(study, figure, graph_object_id=name)
