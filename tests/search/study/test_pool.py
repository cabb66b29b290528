"""A study with a model: only what may fit is tried, each network once, and the search ends when the pool does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from search.study.backend import Scanned
from search.study.pool import StudyPool, pool_of
from tests.search.fakes import SEARCH, accuracy, run_study

MODEL = SEARCH.replace("seed: 3", "seed: 3\nsampler: model")


def test_nothing_is_rejected_and_nothing_tried_twice(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, MODEL)
    assert len(study.records) == 12 and {r.state for r in study.records} <= {"completed", "stopped"}
    keys = [json.dumps(record.params, sort_keys=True) for record in study.records]
    assert len(set(keys)) == 12
    assert backend.calls.count("scan") == 1
    pool = json.loads((tmp_path / "study" / "pool.json").read_text())
    assert len(pool["rows"]) + pool["over"] == 39 and pool["over"] > 0  # 3 without a camera, 36 with
    assert all(row["lower_ms"] <= 60 for row in pool["rows"])
    proposed = [record for record in study.study.trials if "gain" in record.user_attrs.get("proposed", "")]
    assert len(proposed) == 12 - 4  # after the first ones, all from the model


def test_it_finds_the_best_of_what_fits(tmp_path: Path) -> None:
    """Of 39 networks, by accuracy times the chance to keep the budget, in twelve trials."""
    study, backend = run_study(tmp_path, MODEL)
    space, base = study.search.space, study.search.base
    pool = pool_of(study.search, study.folder, backend, lambda _: None)
    chances = pool.arrays(60.0).fits
    worth = {
        json.dumps(row.params, sort_keys=True): chance * accuracy(space.build(base, row.params, "x"), 4)
        for row, chance in zip(pool.rows, chances, strict=True)
    }
    tried = [worth[json.dumps(record.params, sort_keys=True)] for record in study.records]
    assert max(tried) > 0.97 * max(worth.values())
    assert np.median(tried[4:]) > np.quantile(list(worth.values()), 0.75)  # and it looked where they are


def test_it_ends_when_all_that_may_fit_was_tried(tmp_path: Path) -> None:
    text = MODEL.replace("budget_ms: 60", "budget_ms: 9").replace("trials: 12", "trials: 30")
    study, _ = run_study(tmp_path, text.replace("startup_trials: 30", "startup_trials: 4"))
    pool = json.loads((tmp_path / "study" / "pool.json").read_text())
    assert 0 < len(pool["rows"]) == len(study.records) < 30


def test_nothing_fits(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, MODEL.replace("budget_ms: 60", "budget_ms: 1"))
    assert study.records == [] and backend.calls == ["scan"]


def test_the_chance_to_fit_follows_the_band() -> None:
    rows = tuple(Scanned({}, median, 0.8 * median, 1.25 * median) for median in (40.0, 60.0, 70.0))
    fits = StudyPool(rows, 0, 0).arrays(60.0).fits
    assert fits[1] == pytest.approx(0.5) and fits[0] > 0.99 and 0.0 < fits[2] < 0.1
    assert np.all(np.diff(fits) < 0)
