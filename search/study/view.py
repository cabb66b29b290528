"""A study folder as it is read: what was searched and what came of it. No network is built, nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bevlite.config import as_dict, load_config, read_yaml
from bevlite.errors import BevliteError
from bevlite.locks import held_elsewhere
from search.config import SearchConfig, load_search
from search.space.space import tasks_of
from search.study.outcome import Outcome
from search.study.pool import StudyPool, read_pool
from search.study.race import RaceResult, read_race
from search.study.records import TrialRecord
from search.study.store import open_for_reading, records_of


@dataclass(frozen=True)
class StudyView:
    """A study: its folder, its search file as it was resolved, its trials, and the race at its end, if any."""

    folder: Path
    config: SearchConfig
    outcome: Outcome
    race: RaceResult | None = None

    @property
    def label(self) -> str:
        """How its accuracy is called."""
        return self.config.objectives.label

    @property
    def search_file(self) -> Path:
        """The search file, complete in itself."""
        return self.folder / "search.yaml"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that every network of the search solves."""
        return tasks_of(self.config.base) if isinstance(self.config.base, dict) else ()

    @property
    def pool(self) -> StudyPool | None:
        """What may fit, once the space was scanned."""
        return read_pool(self.folder)

    def record(self, number: int) -> TrialRecord:
        """A trial by its number (raises BevliteError where there is none)."""
        for one in self.outcome.records:
            if one.number == number:
                return one
        numbers = [one.number for one in self.outcome.records]
        there = f"0 to {max(numbers)}" if numbers else "a study with trials"
        raise BevliteError(f"{self.folder}: found no trial {number}; accepted: {there}")

    def run_folder(self, number: int) -> Path:
        """The run of a trial."""
        return trial_folder(self.folder, number)

    def is_at_work(self, record: TrialRecord) -> bool:
        """Whether a process of this machine works on a trial now."""
        with held_elsewhere(trial_lock(self.folder, record.number)) as held:
            return held

    @cached_property
    def winner_variant(self) -> dict[str, Any]:
        """The variant of the winning trial as a mapping: from its run, which needs no torch, else built again.

        Raises:
            BevliteError: there is no winner.
        """
        if self.outcome.choice is None:
            raise BevliteError(f"{self.folder}: no trial is feasible; accepted: a study with a winner")
        record, _ = self.outcome.choice
        name, file = winner_name(record), self.run_folder(record.number) / "variant.yaml"
        if file.is_file():
            return read_yaml(file) | {"name": name}
        search = load_search(self.search_file, need_data=False)
        return as_dict(search.space.build(search.base, record.params, name))


def load_study(folder: Path) -> StudyView:
    """Read a study folder (raises BevliteError when it is none)."""
    file = folder / "search.yaml"
    if not file.is_file():
        raise BevliteError(f"{folder}: no study (search.yaml is missing); accepted: the --out of a search run")
    config = load_config(file, SearchConfig)
    records = records_of(open_for_reading(folder, config.storage), config.fidelity.epochs)
    shown = tuple(record for record in records if record.state != "waiting")
    outcome, race = Outcome(shown, config.constraints.most_ms), read_race(folder)
    # A race of other trials than would run now, or of a search that has none any more, has had its time.
    if race is None or {record.number for record in outcome.contenders(config.race.networks)} != set(race.scores):
        return StudyView(folder, config, outcome)
    return StudyView(folder, config, replace(outcome, raced=race.winner), race)


def trial_folder(study: Path, number: int) -> Path:
    """The run folder of a trial."""
    return study / "trials" / f"{number:04d}"


def trial_lock(study: Path, number: int) -> Path:
    """The lock that the process at work on a trial holds."""
    return study / "trials" / f".{number:04d}.lock"


def winner_name(record: TrialRecord) -> str:
    """How the variant of a winning trial is called."""
    return f"winner-trial-{record.number}"
