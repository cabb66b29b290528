"""The model behind Optuna's own interface: an ordinary study, in which nothing is tried twice."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import optuna
import pytest

from search.model.proposal import Pool
from search.model.sampler import ModelSampler
from search.study.pool import StudyPool, what_may_fit
from search.study.proposals import arrays_of
from tests.search.fakes import FakeBackend, accuracy, load


def sampler_of(folder: Path, budget_ms: float = 60.0) -> tuple[ModelSampler, StudyPool, list[float]]:
    search = load(folder)
    pool = what_may_fit(search, *FakeBackend(folder).scan(search, 100))
    worth = [accuracy(search.space.build(search.base, params, "x"), 4) for params in pool.params]
    return ModelSampler(search.space, arrays_of(pool, budget_ms), budget_ms=budget_ms, startup_trials=4), pool, worth


def test_an_objective_of_ones_own(tmp_path: Path) -> None:
    """Two objectives, 12 of the networks that may fit: all different, and after the first ones near the best."""
    sampler, pool, worth = sampler_of(tmp_path)
    number = {str(params): index for index, params in enumerate(pool.params)}

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        index = number[str(sampler.space.sample(trial))]
        return worth[index], pool.rows[index].latency_ms

    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=12)
    tried = [number[str(trial.params)] for trial in study.trials]
    assert len(set(tried)) == 12
    worth_it = np.array(worth) * sampler.pool.fits
    assert max(worth_it[tried]) > 0.97 * worth_it.max()
    assert np.median(worth_it[tried[4:]]) > np.median(worth_it)  # and it looked where they are


def test_what_runs_beside_is_not_proposed_again(tmp_path: Path) -> None:
    sampler, _, _ = sampler_of(tmp_path)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    asked = [study.ask() for _ in range(8)]  # none of them has ended
    chosen = [str(sampler.space.sample(trial)) for trial in asked]
    assert len(set(chosen)) == 8


def test_threads_and_what_a_person_queues(tmp_path: Path) -> None:
    """Four at once: twelve networks, none twice; and what was asked for is what is tried."""
    sampler, _, _ = sampler_of(tmp_path)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: len(str(sampler.space.sample(trial))) / 100, n_trials=12, n_jobs=4)
    assert len({str(trial.params) for trial in study.trials}) == 12
    wanted = {"camera": "none", "fusion.channels": 256}
    study.enqueue_trial(wanted)
    assert sampler.space.sample(study.ask()) == wanted
    assert pickle.loads(pickle.dumps(sampler)).pool.params == sampler.pool.params


def test_a_pool_that_is_empty_and_a_choice_that_is_none(tmp_path: Path) -> None:
    sampler, _, _ = sampler_of(tmp_path)
    few = Pool(sampler.pool.params[:2], sampler.pool.latency_ms[:2], sampler.pool.fits[:2])
    study = optuna.create_study(
        direction="maximize", sampler=ModelSampler(sampler.space, few, budget_ms=60.0, startup_trials=4)
    )
    for _ in range(2):
        trial = study.ask()
        with pytest.raises(ValueError, match="found 'depth'; accepted: camera"):
            trial.suggest_int("depth", 1, 3)
        sampler.space.sample(trial)
        study.tell(trial, 0.5)
    with pytest.raises(ValueError, match="every network of the pool was tried"):
        study.ask()
