"""What Optuna's samplers see of a space, and what a study keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from search.space.neighbours import neighbours
from search.space.ranked import NOTED, Ranked
from search.space.space import Space
from search.study.sampling import draw, params_key
from search.study.store import DIRECTIONS
from tests.search.fakes import SEARCH, load, run_study

SPACE = Space.model_validate(
    {
        "choices": {
            "camera": {"choices": {"none": {}, "small": {}, "large": {}}},
            "channels": {"values": [256, 32, 64], "when": {"camera": ["small", "large"]}},
            "weights": ["imagenet", None],
            "pillars": {"low": 10, "high": 100},
            "rate": {"low": 0.1, "high": 10.0, "log": True},
        }
    }
)


def test_numbers_are_ranks_to_a_sampler_and_themselves_to_the_study() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    ranked, met = Ranked(SPACE), set()
    for _ in range(30):
        trial = study.ask()
        params = ranked.suggest(trial)
        if "channels" in params:
            rank = trial.params["channels"]
            assert params["channels"] == [32, 64, 256][rank]
            met.add(rank)
        assert params["weights"] in ("imagenet", None) and ("channels" in params) == (params["camera"] != "none")
    assert met == {0, 1, 2}


def test_a_trial_of_the_study_is_translated() -> None:
    study = optuna.create_study(directions=DIRECTIONS)
    study.enqueue_trial({"camera": "large", "channels": 256, "weights": None, "pillars": 20, "rate": 1.0})
    trial = study.ask()
    SPACE.sample(trial)
    study.tell(trial, [0.5, 20.0])
    (kept,) = study.trials
    seen = Ranked(SPACE).seen(kept)
    assert isinstance(kept.distributions["channels"], CategoricalDistribution) and kept.params["channels"] == 256
    assert seen.distributions["channels"] == IntDistribution(0, 2) and seen.params["channels"] == 2
    assert seen.params["weights"] is None and seen.values == [0.5, 20.0] and seen.params["pillars"] == 20
    scratch = optuna.create_study(directions=DIRECTIONS, sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=0))
    scratch.add_trial(seen)  # as valid as any
    Ranked(SPACE).suggest(scratch.ask())


def test_what_stands_for_a_proposal_is_near_free_and_in_the_pool(tmp_path: Path) -> None:
    search = load(tmp_path, SEARCH.replace("sampler: tpe", "sampler: random"))
    every = [params for params in search.space.combinations() or () if params["camera"] != "r50"]
    study, tried = optuna.create_study(directions=DIRECTIONS), []
    while (found := draw(search, study.trials, every, [params_key(every[0])])) is not None:
        study.enqueue_trial(found.params)
        trial = study.ask()
        tried.append(params_key(search.space.sample(trial)))
        study.tell(trial, [0.5, 20.0])
    assert sorted(tried) == sorted(params_key(params) for params in every[1:])


def test_neighbours_differ_by_one_choice() -> None:
    params = {"camera": "small", "channels": 64, "weights": None, "pillars": 10, "rate": 1.0}
    found = list(neighbours(SPACE, params, 0))
    assert len({params_key(one) for one in found}) == len(found)
    for one in found:
        changed = [name for name in params if one.get(name) != params[name]]
        assert len(changed) == 1 or (changed == ["camera", "channels"] and one["camera"] == "none")
    by_choice = [sum(one.get(name) != params[name] for one in found) for name in params]
    assert by_choice == [2, 3, 1, 90, 2]  # channels: two others, and none without a camera
    without = next(one for one in found if one["camera"] == "none")
    back = next(one for one in neighbours(SPACE, without, 0) if one["camera"] == "large")
    assert back["channels"] in (32, 64, 256)  # what a change makes possible is drawn


def test_generations_go_on_with_what_stands_for_proposals(tmp_path: Path) -> None:
    """NSGA-II notes which generation a proposal belongs to; without it all of a search is its first one."""
    text = SEARCH.replace("sampler: tpe", "sampler: nsga2").replace("min_trials: 4", "min_trials: 40")
    study, _ = run_study(tmp_path, text, trials=13)
    noted = [trial.user_attrs[NOTED] for trial in study.study.trials]
    generations = [next(value for key, value in one.items() if key.endswith(":generation")) for one in noted[1:]]
    assert generations[:3] == [0, 0, 0] and max(generations) >= 2 and generations == sorted(generations)


@pytest.mark.parametrize(
    ("choice", "value", "found"),
    [
        ({"low": 0.0, "high": 1.0, "step": 0.25}, 0.5, [0.25, 0.75]),
        ({"low": 1, "high": 4, "log": True}, 2, [1, 3]),
        ({"low": 0.0, "high": 10.0}, 0.0, [1.0]),
        ({"low": 1.0, "high": 1024.0, "log": True}, 4.0, [2.0, 8.0]),
    ],
)
def test_neighbours_in_ranges_that_are_not_listed(choice: dict[str, Any], value: float, found: list[float]) -> None:
    space = Space.model_validate({"choices": {"one": choice}})
    assert sorted(params["one"] for params in neighbours(space, {"one": value}, 0)) == pytest.approx(found)
