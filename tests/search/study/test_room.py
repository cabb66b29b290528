"""A limit of the disk: what can hardly win goes, what may win stays, and nothing is trained again for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from bevlite.errors import BevliteError, ConfigError
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant
from search.study.backend import Parent
from search.study.by_hand import weights_of
from search.study.proposals import chances_to_win
from search.study.room import STATE, clear, used, was_removed
from search.study.study import Study
from tests.search.fakes import SEARCH, FakeBackend, load

MODEL = SEARCH.replace("sampler: tpe", "sampler: model").replace("startup_trials: 4", "startup_trials: 8")
LARGE, SMALL = 300_000, 100_000


class Heavy(FakeBackend):
    """Trainings leave weights and a state three times as large."""

    def train(
        self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int, parent: Parent | None = None
    ) -> None:
        super().train(variant, recipe, run, until_epoch, parent)
        (run / "checkpoints").mkdir(exist_ok=True)
        (run / "checkpoints" / STATE).write_bytes(bytes(LARGE))
        (run / "checkpoints" / "float.safetensors").write_bytes(bytes(SMALL))


Ran = tuple[Study, Heavy, list[str]]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Ran]:
    """Runs a study with a limit, each once."""

    @cache
    def of(disk_gb: float) -> Ran:
        folder = tmp_path_factory.mktemp("study")
        backend, said = Heavy(folder), list[str]()
        study = Study(load(folder, MODEL + f"disk_gb: {disk_gb}\n"), folder / "study", backend, said.append)
        study.run()
        return study, backend, said

    return of


def weights(study: Study, number: int) -> bool:
    return (study.trial_folder(number) / "checkpoints" / "float.safetensors").is_file()


def test_first_what_finished_trainings_would_need_to_go_on(ran: Callable[[float], Ran]) -> None:
    study, _, said = ran(0.004)
    finished = [record.number for record in study.records if record.state == "completed"]
    left = [n for n in finished if (study.trial_folder(n) / "checkpoints" / STATE).is_file()]
    assert 0 < len(left) < len(finished) and used(study.folder) <= 0.004e9
    assert all(weights(study, n) for n in finished)
    assert not any("disk_gb" in line for line in said)  # nothing of worth went


def test_then_weights_of_what_can_hardly_win(ran: Callable[[float], Ran]) -> None:
    study, backend, said = ran(0.001)
    gone = [record for record in study.records if was_removed(study.trial_folder(record.number))]
    assert gone and any("weights of trials" in line for line in said) and not study.unfinished
    best = study.outcome.choice
    assert best is not None and weights(study, best[0].number)
    chances = chances_to_win(study.search, study.records)
    kept = [chances[r.number] for r in study.records if r not in gone and r.number in chances]
    assert max(chances[r.number] for r in gone) < 0.05 < max(kept)  # as is believed now; below 0.01 when they went
    assert all(r.accuracy or (r.state == "stopped" and "chance to win is below 1%" in r.reason) for r in gone)
    ends = Counter(call for call in backend.calls if call.startswith("end"))
    assert max(ends.values()) == 1  # no epoch is trained twice for it
    with pytest.raises(BevliteError, match="its weights had to go: disk_gb"):
        weights_of(study.folder, gone[0])


def test_what_may_win_stays_whatever_it_takes(ran: Callable[[float], Ran]) -> None:
    study, _, _ = ran(0.001)
    records = study.records
    likely = dict.fromkeys(range(len(records)), 0.5)
    nothing = clear(study.folder, records, 0.000_01, [], lambda: likely, lambda number: pytest.fail(f"trial {number}"))
    assert nothing.removed == () and nothing.left == used(study.folder)


def test_a_limit_that_cannot_be_kept_is_said_once(tmp_path: Path) -> None:
    said = list[str]()
    search = load(tmp_path, MODEL + "disk_gb: 0.00001\n", trials=1)
    study = Study(search, tmp_path / "study", Heavy(tmp_path), said.append)
    study.run()
    study._make_room()
    assert len(study.records) == 1 and weights(study, 0)
    assert sum("all of it may still win" in line for line in said) == 1


def test_a_paused_trial_that_went_has_ended(tmp_path: Path) -> None:
    """Whatever its chance was: a study that is told so gives it up, and goes on without it."""
    study = Study(load(tmp_path, MODEL), tmp_path / "study", Heavy(tmp_path), lambda _: None)
    study.run()
    waiting = [record for record in study.records if record.state == "paused"]
    assert waiting
    never = {record.number: 0.0 for record in waiting}
    cleared = clear(study.folder, study.records, 1e-9, [], lambda: never, study.give_up)
    assert sorted(cleared.given_up) == [record.number for record in waiting]
    assert {study.records[record.number].state for record in waiting} == {"stopped"}


@pytest.mark.parametrize("value", ["0", "-1", ".inf", "much"])
def test_a_limit_is_a_positive_number(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="disk_gb"):
        load(tmp_path, MODEL + f"disk_gb: {value}\n")
