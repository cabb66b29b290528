"""The race of a study: its best networks, trained by the final recipe with several seeds; every run is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from bevlite.config import as_dict, stable_hash, write_atomic
from bevlite.errors import BevliteError
from search.config import ResolvedSearch
from search.space.compression import runs_in_int8
from search.space.objectives import Score
from search.space.race import chances
from search.study.backend import Backend, Parent
from search.study.curves import ELSEWHERE
from search.study.records import TrialRecord
from search.terminal import Say

FILE = "race.json"


@dataclass(frozen=True)
class RaceResult:
    """What a race gave: accuracies by trial, seed by seed, the winner by their mean, and how likely each is the best.

    recipe: the hash of how they were trained. chance: empty where every network was trained once.
    """

    recipe: str
    scores: dict[int, tuple[float, ...]]
    winner: int
    chance: dict[int, float]

    @property
    def best_seed(self) -> int:
        """Which training of the winner is the best."""
        own = self.scores[self.winner]
        return own.index(max(own))

    @property
    def words(self) -> str:
        """In a line."""
        parts = []
        for number, values in sorted(self.scores.items(), key=lambda one: -mean(one[1])):
            each = ", ".join(f"{value:.4f}" for value in values)
            sure = f", the best with {self.chance[number]:.0%}" if self.chance else ""
            parts.append(f"trial {number}: {mean(values):.4f} ({each}{sure})")
        return "; ".join(parts)


def read_race(folder: Path) -> RaceResult | None:
    """The race of a study, once it is over (raises BevliteError)."""
    held = _read(folder / FILE)
    if "winner" not in held:
        return None
    return RaceResult(
        held["recipe"],
        {int(number): tuple(float(one["accuracy"]) for one in runs) for number, runs in held["scores"].items()},
        int(held["winner"]),
        {int(number): float(value) for number, value in held["chance"].items()},
    )


def race_folder(folder: Path, number: int, seed: int) -> Path:
    """The run of one training of a race."""
    return folder / "race" / f"{number:04d}-seed-{seed}"


def run_race(
    search: ResolvedSearch,
    contenders: Sequence[TrialRecord],
    folder: Path,
    run_of: Callable[[int], Path],
    backend: Backend,
    say: Say,
    parent_of: Callable[[TrialRecord], Parent | None],
) -> RaceResult:
    """Train every contender with every seed; what was trained already is not trained again.

    Where the final recipe is that of the search, a contender's own training is its first one.

    Raises:
        BevliteError: a training failed; what was finished is kept.
    """
    recipe, key = search.final_recipe, stable_hash(as_dict(search.final_recipe))
    held = _read(folder / FILE)
    scores: dict[str, list[dict[str, Any]]] = held["scores"] if held.get("recipe") == key else {}
    held = {"recipe": key, "scores": scores}  # without the winner of an earlier race, until this one is over
    say(f"race      {len(contenders)} networks, {search.config.race.seeds} seeds each, {recipe.epochs} epochs")
    for seed in range(search.config.race.seeds):
        for record in contenders:
            done = scores.setdefault(str(record.number), [])
            if len(done) > seed:
                continue
            run = race_folder(folder, record.number, seed)
            same = seed == 0 and recipe == search.recipe and record.trained_in != ELSEWHERE and record.score is not None
            if same:
                assert record.score is not None
                done.append(record.score)
            else:
                variant = search.space.build(search.base, record.params, f"race-{record.number}-{seed}")
                seeded = recipe.model_copy(update={"seed": recipe.seed + seed})
                backend.train(variant, seeded, run, recipe.epochs, parent_of(record))
                if runs_in_int8(variant):
                    backend.quantize(variant, run, run)
                found = backend.evaluate(run)
                done.append(Score.of(search.config.objectives, found, record.candidate(variant)).as_json())
            say(f"race      trial {record.number}, seed {seed}: {done[-1]['accuracy']:.4f}")
            write_atomic(folder / FILE, json.dumps(held, indent=1) + "\n")
    taken = {str(record.number): scores[str(record.number)][: search.config.race.seeds] for record in contenders}
    values = {int(number): [float(one["accuracy"]) for one in runs] for number, runs in taken.items()}
    order = {record.number: place for place, record in enumerate(contenders)}
    winner = max(values, key=lambda number: (mean(values[number]), -order[number]))
    held |= {"winner": winner, "scores": taken, "chance": {str(n): p for n, p in chances(values).items()}}
    write_atomic(folder / FILE, json.dumps(held, indent=1) + "\n")
    result = read_race(folder)
    assert result is not None
    say(f"race      {result.words}")
    return result


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        held: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        _ = held["recipe"], {int(number): [float(one["accuracy"]) for one in runs]
                             for number, runs in held["scores"].items()}  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BevliteError(
            f"{file}: cannot be read; accepted: as `bevlite search run` writes it (remove it: the race is run again)"
        ) from None
    return held
