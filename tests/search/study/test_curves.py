"""What trainings gave is used again by other searches, with another budget, and trained by none of them twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bevlite.errors import BevliteError
from search.study.curves import ELSEWHERE, trained_by
from search.study.outcome import Outcome
from search.study.study import Study
from search.study.winner import finish_winner
from tests.search.fakes import SEARCH, FakeBackend, load

MODEL = SEARCH.replace("sampler: tpe", "sampler: model\nknown: KNOWN").replace("trials: 12", "trials: 6")


def run(folder: Path, known: Path, text: str = MODEL) -> tuple[Study, FakeBackend]:
    folder.mkdir()
    backend = FakeBackend(folder)
    study = Study(load(folder, text.replace("KNOWN", str(known))), folder / "study", backend, lambda _: None)
    study.run()
    return study, backend


def epochs(backend: FakeBackend) -> int:
    return sum(call.startswith("begin") for call in backend.calls)


def test_another_budget_costs_a_fraction(tmp_path: Path) -> None:
    """The best network for 50 ms after a search for 60: what was trained then is not trained again."""
    known = tmp_path / "known"
    first, cold = run(tmp_path / "sixty", known)
    trained = {r.network_hash: r for r in first.records if r.state == "completed"}
    fewer = MODEL.replace("budget_ms: 60", "budget_ms: 50").replace("trials: 6", "trials: 1")
    second, warm = run(tmp_path / "fifty", known, fewer)
    assert epochs(warm) <= 0.2 * epochs(cold)
    taken = [record for record in second.records if record.trained_in == ELSEWHERE]
    assert taken and all(record.rungs == trained[record.network_hash].rungs for record in taken)
    alone, _ = run(tmp_path / "alone", tmp_path / "none", MODEL.replace("budget_ms: 60", "budget_ms: 50"))
    assert best(second) >= best(alone) - 1e-9


def best(study: Study) -> float:
    choice = study.outcome.choice
    assert choice is not None and choice[0].accuracy is not None
    return choice[0].accuracy


def test_a_winner_known_from_elsewhere_is_trained_for_its_weights(tmp_path: Path) -> None:
    known = tmp_path / "known"
    run(tmp_path / "first", known, MODEL.replace("trials: 6", "trials: 12"))
    study, backend = run(tmp_path / "second", known, MODEL.replace("trials: 6", "trials: 1"))
    fast = [record for record in study.records if record.trained_in == ELSEWHERE and (record.upper_ms or 99) <= 60]
    only = [record for record in fast if record.eligible]
    outcome = Outcome(tuple(only[:1]), 60.0)
    before = epochs(backend)
    finish_winner(study.search, outcome, study.folder, study.trial_folder, backend, lambda _: None)
    assert epochs(backend) - before == 4 and (study.folder / "winner" / "epoch").read_text() == "4"


def test_other_data_or_recipes_know_nothing_and_loader_processes_do_not_count(tmp_path: Path) -> None:
    known = tmp_path / "known"
    _, first = run(tmp_path / "first", known)
    other = MODEL.replace("trials: 6", "trials: 6\nrecipe_overrides: {learning_rate: 0.002}")
    _, second = run(tmp_path / "second", known, other)
    assert epochs(second) >= 0.9 * epochs(first)
    workers = MODEL.replace("trials: 6", "trials: 1\nrecipe_overrides: {workers: 3, save_every_s: 7}")
    _, third = run(tmp_path / "third", known, workers)
    assert epochs(third) < 0.2 * epochs(first)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BevliteError, match=r"known: found .*/file \(Not a directory\); accepted: a folder that can be"):
        run(tmp_path / "study", tmp_path / "file")


def test_a_damaged_file_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    known = tmp_path / "known"
    run(tmp_path / "first", known)
    file = next(file for file in known.glob("*/*.json") if file.name != "of.json")
    content = json.loads(file.read_text())
    content["rungs"]["1"]["accuracy"] = float("nan")
    for text in ("{", json.dumps(content), "[]"):
        file.write_text(text)
        with pytest.raises(BevliteError, match=f"{file.name}: cannot be read; accepted: as a search writes it"):
            run(tmp_path / f"again{len(text)}", known)


def test_keys_that_came_later_orphan_nothing() -> None:
    """A recipe of before has neither a teacher nor a choice of what learns."""
    old = {"epochs": 4, "learning_rate": 0.001, "clip_frames": None}
    assert trained_by({**old, "teacher": None, "only": None, "workers": 3}) == trained_by(old) == old
    assert trained_by({**old, "only": ["lidar"]}) != trained_by(old)
