"""Samplers by name, and what is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from bevlite.errors import ConfigError
from search.space.samplers import make_sampler
from tests.search.fakes import SEARCH, load, run_study


class Backwards(optuna.samplers.RandomSampler):
    """A sampler of somebody else's, which wants the widest fusion: the last of its values by rank."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        if param_name == "fusion.channels":
            return param_distribution.high
        return super().sample_independent(study, trial, param_name, param_distribution)


def with_sampler(name: str) -> str:
    return SEARCH.replace("sampler: tpe", f"sampler: {name}")


@pytest.mark.parametrize("name", ["nsga2", "random", f"{__name__}:Backwards"])
def test_a_study_by_another_sampler(name: str, tmp_path: Path) -> None:
    study, _ = run_study(tmp_path, with_sampler(name))
    assert len(study.records) == 12 and study.outcome.choice is not None
    if name.endswith("Backwards"):
        wide = [record.params["fusion.channels"] == 256 for record in study.records]
        assert sum(wide) > 8  # and what it insists on after all of these were tried, chance decides


def test_seeds_and_trials_before() -> None:
    assert make_sampler("gp", 3, 7)._n_startup_trials == 7
    draws = [[make_sampler("random", seed, 5)._rng.rng.random() for _ in range(2)] for seed in (1, 2)]
    assert draws[0][0] == draws[0][1] != draws[1][0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("luck", "sampler: found 'luck'; accepted: model, tpe, nsga2, gp, random, or package"),
        ("no.such:Thing", r"sampler: found 'no.such:Thing' \(No module named 'no'\)"),
        ("optuna.samplers:Nothing", "sampler: found 'optuna.samplers:Nothing' .*has no attribute"),
        ("optuna.samplers:GridSampler", "found 'optuna.samplers:GridSampler', which needs search_space; accepted: "),
        ("pathlib:Path", "sampler: found 'pathlib:Path', which is no sampler of Optuna"),
    ],
)
def test_what_is_no_sampler(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        load(tmp_path, with_sampler(name))
