"""A study with a model: only what may fit is tried, each network once, and the search ends when the pool does."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.errors import BevliteError
from search.report.report import render
from search.report.words import gain_lines, status_lines, why_lines
from search.study.backend import Scanned
from search.study.pool import StudyPool, pool_of, read_pool
from search.study.proposals import Next, arrays_of
from search.study.study import Study
from search.study.view import load_study
from tests.search.fakes import SEARCH, FakeBackend, accuracy, load, run_study

MODEL = SEARCH.replace("sampler: tpe", "sampler: model")


def test_nothing_is_rejected_and_nothing_tried_twice(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, MODEL)
    assert len(study.records) > 12 and {r.state for r in study.records} <= {"completed", "paused"}
    assert 12 * 4 <= sum(record.last_epoch for record in study.records) < 12 * 4 + 2  # what 12 full trainings take
    keys = [json.dumps(record.params, sort_keys=True) for record in study.records]
    assert len(set(keys)) == len(keys)
    assert backend.calls.count("scan") == 1
    pool = json.loads((tmp_path / "study" / "pool.json").read_text())
    assert len(pool["rows"]) + pool["over"] == 39 and pool["over"] > 0  # 3 without a camera, 36 with
    assert all(row["lower_ms"] <= 60 for row in pool["rows"])
    proposed = [record for record in study.study.trials if "gain" in record.user_attrs.get("proposed", "")]
    assert len(proposed) == len(keys) - 4  # after the first ones, all from the model


def test_it_finds_the_best_of_what_fits(tmp_path: Path) -> None:
    """Of 39 networks, by accuracy times the chance to keep the budget, in twelve trials."""
    study, backend = run_study(tmp_path, MODEL)
    space, base = study.search.space, study.search.base
    pool = pool_of(study.search, study.folder, backend, lambda _: None)
    chances = arrays_of(pool, 60.0).fits
    worth = {
        json.dumps(row.params, sort_keys=True): chance * accuracy(space.build(base, row.params, "x"), 4)
        for row, chance in zip(pool.rows, chances, strict=True)
    }
    tried = [worth[json.dumps(record.params, sort_keys=True)] for record in study.records]
    assert max(tried) > 0.97 * max(worth.values())
    assert np.median(tried[4:]) > np.quantile(list(worth.values()), 0.75)  # and it looked where they are


def test_what_waits_at_a_rung_goes_on_when_it_is_worth_most(tmp_path: Path) -> None:
    """The first ones are trained to the end; others give way, and come back from where they were."""
    study, backend = run_study(tmp_path, MODEL.replace("startup_trials: 4", "startup_trials: 8"))
    first, later = study.records[:8], study.records[8:]
    assert {record.state for record in first} == {"completed"}
    assert {record.state for record in later} == {"completed", "paused"}
    best = max(study.records, key=lambda record: record.accuracy or 0.0)
    assert best.number >= 8  # a network that had to give way on its way
    begun = [call for call in backend.calls if call.startswith(f"begin {best.number:04d} ")]
    assert [call.split()[-1] for call in begun] == ["1", "2", "3", "4"]
    between = backend.calls[backend.calls.index(begun[0]) : backend.calls.index(begun[-1])]
    assert any(call.startswith("begin") and call not in begun for call in between)  # others came in between
    paused = [record for record in later if record.state == "paused"]
    assert study.outcome.choice is not None and study.outcome.choice[0].state == "completed" and not study.unfinished
    more = Study(study.search.with_trials(20), study.folder, backend, lambda _: None)  # with more to spend it goes on
    more.run()
    assert any(more.records[record.number].last_epoch > record.last_epoch for record in paused)


def test_no_network_waits_at_a_rung_that_lies(tmp_path: Path) -> None:
    """Where the first epochs order networks the other way round, all are trained to the end."""

    class Lying(FakeBackend):
        def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
            summary = super().evaluate(run, draws)
            if int((run / "epoch").read_text()) < 4:
                summary["NDS"] = 1.0 - summary["NDS"]
            return summary

    study = Study(load(tmp_path, MODEL), tmp_path / "study", Lying(tmp_path), lambda _: None)
    study.run()
    assert {record.state for record in study.records} == {"completed"} and len(study.records) == 12


def test_it_ends_when_all_that_may_fit_was_tried(tmp_path: Path) -> None:
    text = MODEL.replace("budget_ms: 60", "budget_ms: 9").replace("trials: 12", "trials: 30")
    study, _ = run_study(tmp_path, text.replace("startup_trials: 30", "startup_trials: 4"))
    pool = json.loads((tmp_path / "study" / "pool.json").read_text())
    assert 0 < len(pool["rows"]) == len(study.records) < 30


def test_why(tmp_path: Path) -> None:
    """What became of each trial, in words that its figures bear out."""
    study, _ = run_study(tmp_path, MODEL)
    view = load_study(study.folder)
    epochs = sum(record.last_epoch for record in view.outcome.records)
    assert f"; {epochs / 4:.1f} of 12 full trainings" in status_lines(view)[0]
    said = {record.number: why_lines(view, record.number) for record in view.outcome.records}
    assert view.outcome.choice is not None
    winner = view.outcome.choice[0]
    assert said[winner.number][1] == "completed: the winner"
    for record in view.outcome.records:
        if record.state == "paused":
            assert said[record.number][1].startswith(f"paused: waits at epoch {record.last_epoch}: others are expected")
        if record.state == "completed" and (found := re.search(r"trial (\d+) is better by", said[record.number][1])):
            other = view.outcome.records[int(found.group(1))]
            assert (other.accuracy or 0) >= (record.accuracy or 0) and (other.latency_ms or 0) <= (
                record.latency_ms or 0
            )
    with pytest.raises(BevliteError, match=rf"found no trial 99; accepted: 0 to {len(said) - 1}"):
        why_lines(view, 99)


def test_time_that_is_over_begins_nothing_more(tmp_path: Path) -> None:
    said = list[str]()
    backend, search = FakeBackend(tmp_path), load(tmp_path, MODEL)
    over = Study(search, tmp_path / "study", backend, said.append, until=time.time() - 1)
    over.run()
    assert over.records == [] and said == ["the time is over; the same command goes on"] and not over.unfinished
    Study(search, tmp_path / "study", backend, said.append, until=time.time() + 600).run()
    assert len(over.records) > 12


def test_what_has_too_many_parameters_is_no_trial(tmp_path: Path) -> None:
    """Of networks with as many parameters as latency (in tenths of a million a ms) those of 3.5 M and less."""
    said, backend = list[str](), FakeBackend(tmp_path)
    text = MODEL.replace("{budget_ms: 60}", "{budget_ms: 60, max_params_m: 3.5}")
    study = Study(load(tmp_path, text), tmp_path / "study", backend, said.append)
    study.run()
    rows = json.loads((tmp_path / "study" / "pool.json").read_text())["rows"]
    small = [row["params"] for row in rows if row["latency_ms"] <= 35]
    assert 3 < len(small) < len(rows) and {record.state for record in study.records} == {"completed"}
    assert sorted(map(str, small)) == sorted(str(record.params) for record in study.records)  # all of these, no other
    assert all((record.parameters or 0) <= 3.5e6 for record in study.records)
    assert said.count("networks of more than 3.5 M parameters are left out as they come up") == 1


def test_nothing_fits(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, MODEL.replace("budget_ms: 60", "budget_ms: 1"))
    assert study.records == [] and backend.calls == ["scan"]


def test_the_chance_to_fit_follows_the_band() -> None:
    rows = tuple(Scanned({}, median, 0.8 * median, 1.25 * median) for median in (40.0, 60.0, 70.0))
    fits = arrays_of(StudyPool(rows, 0, 0), 60.0).fits
    assert fits[1] == pytest.approx(0.5) and fits[0] > 0.99 and 0.0 < fits[2] < 0.1
    assert np.all(np.diff(fits) < 0)


def test_what_wins_is_compared_over_the_same_scenes(tmp_path: Path) -> None:
    """Draws of the fake are its accuracy times 0.9 to 1.1: in each the winner is ahead by as much."""
    study, _ = run_study(tmp_path, MODEL)
    view = load_study(study.folder)
    assert view.outcome.choice is not None
    winner = view.outcome.choice[0]
    others = [record for record in view.outcome.pareto if record.number != winner.number]
    lines = gain_lines(view)
    assert others and len(lines) == len(others)
    factors = np.linspace(0.9, 1.1, 21)
    for record, line in zip(others, lines, strict=True):
        apart = (winner.accuracy or 0) - (record.accuracy or 0)
        expected = np.percentile(apart * factors, (2.5, 97.5))
        assert winner.gain_over(record) == pytest.approx(tuple(expected), abs=2e-6)
        assert record.interval == pytest.approx(np.percentile((record.accuracy or 0) * factors, (2.5, 97.5)), abs=2e-6)
        assert f"over trial {record.number}: NDS {apart:+.4f}" in line
        assert ("(beyond chance)" in line) == (apart > 0)
        assert winner.gain_over(replace(record, rungs={})) is None  # without draws of its own
        assert line.split("  ")[0] in render(view)


def test_a_pool_of_a_space_that_is_not_listed_follows_the_best(tmp_path: Path) -> None:
    """Of a range with 900 values a few are scanned; neighbours of what was trained come after."""
    text = MODEL.replace("fusion.channels: [128, 192, 256]", "lidar.pillars.max_pillars: {low: 10000, high: 19000}")
    few, backend, said = 40, FakeBackend(tmp_path), list[str]()
    search = load(tmp_path, text)
    whole, backend.scan = backend.scan, lambda search, most, among=None: whole(search, min(most, few), among)  # type: ignore[method-assign]
    study = Study(search, tmp_path / "study", backend, said.append)
    study.run()
    pool = read_pool(study.folder)
    assert pool is not None and not pool.listed and pool.widened >= 4 and len(pool.rows) > few
    keys = [json.dumps(params, sort_keys=True) for params in pool.params]
    assert len(set(keys)) == len(keys) and all(row.lower_ms <= 60 for row in pool.rows)
    wider = [call for call in backend.calls if call.startswith("scan of")]
    assert len(wider) == sum("networks more that may fit" in line for line in said) >= 1
    first = {json.dumps(row.params, sort_keys=True) for row in pool.rows[: few - pool.over]}
    assert {json.dumps(record.params, sort_keys=True) for record in study.records} - first  # some of them were tried


def test_a_small_part_of_a_large_space_is_not_all(tmp_path: Path) -> None:
    """Where all that was scanned is tried, more is looked at, before as many are trained as a sampler starts with."""
    text = MODEL.replace("fusion.channels: [128, 192, 256]", "lidar.pillars.max_pillars: {low: 10000, high: 19000}")
    backend = FakeBackend(tmp_path)
    search = load(tmp_path, text)
    whole, backend.scan = backend.scan, lambda search, most, among=None: whole(search, min(most, 3), among)  # type: ignore[method-assign]
    study = Study(search, tmp_path / "study", backend, lambda _: None)
    study.run()
    assert len(study.records) >= 12


def test_what_is_chosen_is_known_before_anybody_else_may_ask(tmp_path: Path) -> None:
    study = Study(load(tmp_path, MODEL), tmp_path / "study", FakeBackend(tmp_path), lambda _: None)
    job = study._next()
    assert job is not None
    (trial,) = study.study.trials
    assert trial.params in [row.params for row in pool_of(study.search, study.folder, study.backend, print).rows]
    job.lock.release()


def test_a_paused_trial_that_ends_meanwhile_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker gives it up between the proposal and the lock: it is thought about again."""
    text = MODEL.replace("startup_trials: 4", "startup_trials: 8")
    study, backend = run_study(tmp_path, text)
    waiting = [record for record in study.records if record.state == "paused"]
    more = Study(study.search.with_trials(20), study.folder, backend, lambda _: None)
    propose, asked = more._propose, list[int]()

    def meanwhile(trials: list[Any]) -> Any:
        found = propose(trials) if asked else Next(waiting[0].params, "it waits", waiting[0].number)
        if not asked:
            more.give_up(waiting[0].number)
        asked.append(1)
        return found

    monkeypatch.setattr(more, "_propose", meanwhile)
    job = more._next()
    assert job is not None and job.trial.number != waiting[0].number and len(asked) == 2
    job.lock.release()
