"""The finish: the best few are trained again with several seeds, and the best of them wins with a chance."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from bevlite.errors import BevliteError
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant
from search.report.words import race_line
from search.space.race import chances
from search.study.backend import Parent
from search.study.race import read_race
from search.study.run import run_to_the_winner
from search.study.view import load_study
from tests.search.fakes import SEARCH, FakeBackend, load

RACE = SEARCH.replace("seed: 3", "seed: 3\nrace: {networks: 3, seeds: 2}\nfinal: {epochs: 5}")


class Lucky(FakeBackend):
    """The best of the search is worse when it is trained again; may be killed at the second seed of a race."""

    killed = False

    def train(
        self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int, parent: Parent | None = None
    ) -> None:
        if self.killed and "seed-1" in run.name:
            raise KeyboardInterrupt
        super().train(variant, recipe, run, until_epoch, parent)
        (run / "seed").write_text(str(recipe.seed))

    def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
        summary = super().evaluate(run, draws)
        seed = int((run / "seed").read_text()) if (run / "seed").exists() else 0
        summary["NDS"] += 0.002 * seed
        if run.parent.name == "race" and f"race-{self.first}-" in (run / "variant.yaml").read_text():
            summary["NDS"] -= 0.3
        return summary

    first = -1


def test_the_best_of_the_race_wins(tmp_path: Path) -> None:
    backend, said = Lucky(tmp_path), list[str]()
    search = load(tmp_path, SEARCH)
    run_to_the_winner(search, tmp_path / "study", backend, said.append)
    before = load_study(tmp_path / "study")
    assert before.race is None and race_line(before) is None and before.outcome.choice is not None
    backend.first = before.outcome.choice[0].number
    backend.killed = True  # in its second seed
    raced = load(tmp_path, RACE)  # a race, as a longer final training, may come later
    with pytest.raises(KeyboardInterrupt):
        run_to_the_winner(raced, tmp_path / "study", backend, said.append)
    assert read_race(tmp_path / "study") is None
    trained = sum("seed-0" in call and call.startswith("begin") for call in backend.calls)
    backend.killed = False
    run_to_the_winner(raced, tmp_path / "study", backend, said.append)
    assert sum("seed-0" in call and call.startswith("begin") for call in backend.calls) == trained == 3 * 5
    view = load_study(tmp_path / "study")
    assert view.race is not None and len(view.race.scores) == 3 and view.outcome.choice is not None
    means = {number: mean(values) for number, values in view.race.scores.items()}
    assert view.race.winner == max(means, key=lambda number: means[number]) != backend.first
    assert view.outcome.choice[0].number == view.race.winner and sum(view.race.chance.values()) == pytest.approx(1)
    assert (tmp_path / "study" / "winner" / "seed").read_text() == str(raced.final_recipe.seed + 1)  # the better seed
    assert f"trial {view.race.winner}: " in str(race_line(view))
    # Of a search without a race, or with other trials in it, the race of before says nothing.
    for change in ("race: {networks: 1}", "race: {networks: 2}"):
        other = tmp_path / "study" / "search.yaml"
        kept = other.read_text()
        assert kept.count("race: {networks: 3, seeds: 2}") == 1
        other.write_text(kept.replace("race: {networks: 3, seeds: 2}", change))
        assert load_study(tmp_path / "study").race is None
        other.write_text(kept)
    calls = len(backend.calls)
    run_to_the_winner(raced, tmp_path / "study", backend, said.append)  # once more: nothing is left to do
    assert not [call for call in backend.calls[calls:] if call.startswith("begin")]


def test_a_damaged_race_is_said(tmp_path: Path) -> None:
    backend = Lucky(tmp_path)
    run_to_the_winner(load(tmp_path, RACE), tmp_path / "study", backend, lambda _: None)
    (tmp_path / "study" / "race.json").write_text(json.dumps({"recipe": "x", "scores": {"1": [{}]}}))
    with pytest.raises(BevliteError, match=r"race\.json: cannot be read; accepted: as `bevlite search run` writes it"):
        run_to_the_winner(load(tmp_path, RACE), tmp_path / "study", backend, lambda _: None)


def test_chances() -> None:
    """Two networks with many seeds against the normal distribution; equal ones share; one seed says nothing."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.40, 0.01, 400), rng.normal(0.401, 0.01, 400)
    deviation = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    wanted = norm.cdf((b.mean() - a.mean()) / (deviation * np.sqrt(2 / 400)))
    assert chances({1: a.tolist(), 2: b.tolist()})[2] == pytest.approx(wanted, abs=0.015)
    equal = chances({1: [0.3, 0.4], 2: [0.4, 0.3], 3: [0.3, 0.4]})
    assert all(value == pytest.approx(1 / 3, abs=0.02) for value in equal.values())
    assert chances({1: [0.3], 2: [0.4]}) == {}
