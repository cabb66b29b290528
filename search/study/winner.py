"""The winner: a plain variant file, trained at full length and exported."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bevlite.config import to_yaml, write_atomic
from bevlite.errors import BevliteError
from search.config import ResolvedSearch
from search.space.compression import runs_in_int8
from search.space.objectives import Score
from search.study.backend import Backend, Parent
from search.study.by_hand import weights_of
from search.study.outcome import Outcome, budget_words
from search.study.race import RaceResult, race_folder, run_race
from search.study.records import TrialRecord
from search.study.view import StudyView, winner_name
from search.terminal import Say

NOTE = "winner.json"


@dataclass(frozen=True)
class FinalResult:
    """What the winner's own training gave. `score` is None while it is under way."""

    trial: int
    epochs: int
    score: dict[str, Any] | None = None
    exported: bool = False
    problem: str = ""


def read_result(folder: Path) -> FinalResult | None:
    """The result in a study folder, if there is one."""
    file = folder / NOTE
    if not file.is_file():
        return None
    try:
        return FinalResult(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise BevliteError(f"{file}: cannot be read; accepted: as `bevlite search run` writes it") from None


def write_winner_yaml(view: StudyView, path: Path) -> None:
    """The winner as a variant file, with what is known of it as comments."""
    outcome = view.outcome
    assert outcome.choice is not None
    record, winner = outcome.choice
    assert record.latency is not None and record.score is not None
    head = [
        f"Trial {record.number} of {len(outcome.records)}: {record.params_text}",
        f"{view.label} {record.accuracy:.4f} after {record.last_epoch} epochs ({outcome.where})",
        f"Latency {record.latency.text} on {view.config.device.title}, budget {outcome.budget_ms:g} ms: "
        f"{budget_words(record, winner)}",
    ]
    if view.race is not None:
        head.append(f"Race: {view.race.words}")
    write_atomic(path, "".join(f"# {line}\n" for line in head) + to_yaml(view.winner_variant))


def finish_winner(
    search: ResolvedSearch, outcome: Outcome, folder: Path, run_of: Callable[[int], Path], backend: Backend, say: Say
) -> FinalResult:
    """Train the winner as `final` says, evaluate and export it into `folder/winner`.

    What an earlier call has finished is kept. A winner of an earlier, shorter search is moved aside.

    Raises:
        BevliteError: its training failed.
    """
    assert outcome.choice is not None
    record, _ = outcome.choice
    run, recipe = folder / "winner", search.final_recipe
    race = _race(search, outcome, folder, run_of, backend, say)
    if race is not None:
        record = next(one for one in outcome.records if one.number == race.winner)
    known = read_result(folder)
    if known is not None and (known.trial, known.epochs) != (record.number, recipe.epochs):
        _move_aside(folder, run, known)
        known = None
    if known is not None and known.score is not None and known.exported:
        return known
    _write(folder, FinalResult(record.number, recipe.epochs))
    variant = search.space.build(search.base, record.params, winner_name(record))
    raced = race_folder(folder, record.number, race.best_seed) if race is not None else None
    if raced is not None and raced.is_dir():
        _copy_run(raced, run)
        write_atomic(run / "variant.yaml", to_yaml(variant))
    elif recipe == search.recipe and _has_weights(folder, record):
        say(f"winner    trial {record.number}: its {recipe.epochs} epochs are the final training")
        _copy_run(weights_of(folder, record), run)
        write_atomic(run / "variant.yaml", to_yaml(variant))  # of a trial with another precision plan, perhaps
    else:
        say(f"winner    trial {record.number}: final training, {recipe.epochs} epochs")
        backend.train(variant, recipe, run, recipe.epochs, _parent(search, record, run_of))
        if runs_in_int8(variant):
            backend.quantize(variant, run, run)
    score = Score.of(search.config.objectives, backend.evaluate(run, draws=True), record.candidate(variant))
    say(f"winner    {search.config.objectives.label} {score.accuracy:.4f} ({score.where})")
    problem = ""
    try:
        backend.export(run)
    except BevliteError as error:
        problem = f"not exported: {error}"
        say(f"winner    {problem}")
    result = FinalResult(record.number, recipe.epochs, score.as_json(), not problem, problem)
    _write(folder, result)
    return result


def _race(
    search: ResolvedSearch, outcome: Outcome, folder: Path, run_of: Callable[[int], Path], backend: Backend, say: Say
) -> RaceResult | None:
    """The race of the best, where the search has one and more than one network could win."""
    contenders = outcome.contenders(search.config.race.networks)
    if len(contenders) < 2:
        return None
    return run_race(
        search, contenders, folder, run_of, backend, say, lambda record: _parent(search, record, run_of)
    )  # fmt: skip


def _has_weights(folder: Path, record: TrialRecord) -> bool:
    """Whether they are in this study, and were not removed for want of room."""
    try:
        weights_of(folder, record)
    except BevliteError:
        return False
    return True


def _parent(search: ResolvedSearch, record: TrialRecord, run_of: Callable[[int], Path]) -> Parent | None:
    """What it starts from in its final training too, where it inherited."""
    if record.inherited is None:
        return None
    _, ratios = search.space.uncut(search.base, record.params, "parent")
    return Parent(run_of(record.inherited), ratios)


def _write(folder: Path, result: FinalResult) -> None:
    write_atomic(folder / NOTE, json.dumps(result.__dict__, indent=1) + "\n")


def _move_aside(folder: Path, run: Path, known: FinalResult) -> None:
    if run.is_dir():
        target = folder / f"winner-trial-{known.trial}-{known.epochs}-epochs"
        shutil.rmtree(target, ignore_errors=True)
        run.rename(target)


def _copy_run(source: Path, target: Path) -> None:
    if target.is_dir():
        return
    half = target.with_name(".winner-copy")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    half.rename(target)
