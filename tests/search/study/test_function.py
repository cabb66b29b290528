"""A search for what a function of the user's says, and what becomes of one that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bevlite.errors import ConfigError
from search.config import load_search
from search.latency.summary import LatencySummary
from search.space.objectives import ObjectiveError
from search.study.study import Study
from search.study.view import load_study
from tests.search.fakes import SEARCH, FakeBackend, load, run_study

BROKEN: list[int] = []
"""Calls that shall fail."""


def lean(*, metrics: dict[str, float], variant: dict[str, Any], latency: LatencySummary) -> float:
    """Accuracy, less a hundredth a millisecond, and nothing for a camera."""
    if BROKEN:
        raise ZeroDivisionError(f"call {BROKEN.pop()}")
    return metrics["NDS"] - 0.01 * latency.total_ms - (variant["camera"] is not None)


FILE = SEARCH.replace("trials: 12", "trials: 8") + f"objectives: {{function: '{__name__}:lean'}}\n"


def test_the_function_decides(tmp_path: Path) -> None:
    study, _ = run_study(tmp_path, FILE)
    done = [record for record in study.records if record.state == "completed"]
    for record in done:
        assert record.score is not None and record.latency is not None
        found = record.score["metrics"]["NDS"] - 0.01 * record.latency.total_ms
        assert record.accuracy == pytest.approx(found - (record.params["camera"] != "none"))
    view = load_study(study.folder)
    assert view.label == "lean" and view.outcome.choice is not None
    surely = [record for record in done if (record.upper_ms or 99) <= 60]
    assert view.outcome.choice[0].accuracy == max(record.accuracy or -9.0 for record in surely)
    again = load_search(view.search_file)  # complete in itself
    assert again.config.objectives.function == f"{__name__}:lean" and again.identity() == study.search.identity()


def test_one_that_fails_stops_the_search_and_costs_no_training(tmp_path: Path) -> None:
    backend = FakeBackend(tmp_path)
    BROKEN.append(1)
    study = Study(load(tmp_path, FILE), tmp_path / "study", backend, lambda _: None)
    with pytest.raises(ObjectiveError, match=r":lean: raised ZeroDivisionError: call 1$"):
        study.run()
    assert [record.state for record in study.records] == ["running"]
    trained = [call for call in backend.calls if call.startswith("end 0000")]
    study, backend = run_study(tmp_path, FILE)
    assert [call for call in backend.calls if call.startswith("end 0000")][: len(trained)] == trained
    assert backend.calls.count("end 0000 1") == 1 and study.records[0].state in ("completed", "stopped")


def test_it_shares_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"known: found it beside objectives\.function"):
        load(tmp_path, FILE + "known: known\n")


def test_a_search_without_one_is_the_study_of_before(tmp_path: Path) -> None:
    assert "function" not in load(tmp_path).identity()["objectives"]
