"""What a terminal shows while a search runs, against the trials that there are."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console

from search.report.live import lines, overview, seconds_left, watching
from search.study.records import spent
from search.study.view import StudyView, load_study
from tests.search.fakes import SEARCH, run_study

MODEL = SEARCH.replace("sampler: tpe", "sampler: model").replace("startup_trials: 4", "startup_trials: 8")


def shown(thing: object) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(thing)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    study, _ = run_study(tmp_path_factory.mktemp("study"), MODEL)
    return load_study(study.folder)


def test_front_and_what_waits(view: StudyView) -> None:
    text = shown(overview(view))
    best = sorted(view.outcome.pareto, key=lambda record: -(record.accuracy or 0))[:5]
    for record in best:
        row = next(line for line in text.splitlines() if line.startswith(f"{record.number} ") and "front" in line)
        assert f"{record.accuracy:.4f}" in row and "4/4" in row
    paused = [record for record in view.outcome.records if record.state == "paused"]
    paused.sort(key=lambda record: -(record.last_accuracy or 0))
    assert [int(n) for n in re.findall(r"^(\d+)\s+│ paused", text, re.M)] == [record.number for record in paused[:5]]
    assert len(paused) > 0
    epochs = spent(view.outcome.records, (1, 2, 4))
    assert lines(view)[0].startswith(f"{len(view.outcome.records)} trials; {epochs / 4:.1f} of 12 full trainings (")
    assert f"front: {len(view.outcome.pareto)} networks" in lines(view)[1]


def test_the_time_that_is_left(view: StudyView) -> None:
    """As much again for the other half of what may be spent."""
    config = view.config.model_copy(update={"trials": 24})
    seconds = sum(record.seconds for record in view.outcome.records)
    half = view.__class__(view.folder, config, view.outcome)
    epochs = spent(view.outcome.records, (1, 2, 4))
    assert seconds_left(half) == pytest.approx(seconds * (24 * 4 - epochs) / epochs)
    assert seconds_left(view.__class__(view.folder, config, view.outcome.__class__((), 60.0))) is None


def test_on_a_terminal_alone(view: StudyView, tmp_path: Path) -> None:
    for terminal, words in ((True, "front: "), (False, "")):
        file = io.StringIO()
        console = Console(file=file, force_terminal=terminal, width=160)
        with watching(view.folder, console):
            console.print("a line that is said")
            time.sleep(1.2 if terminal else 0)
        assert "a line that is said" in file.getvalue() and words in file.getvalue()
        assert terminal or file.getvalue() == "a line that is said\n"
    file = io.StringIO()
    with watching(tmp_path / "nothing", Console(file=file, force_terminal=True, width=160)):
        time.sleep(1.2)
    assert "no study" in file.getvalue()
