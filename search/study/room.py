"""Room on the disk: what goes of a study's trials when they take more than the user allows."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bevlite.config import write_atomic
from search.study.curves import ELSEWHERE
from search.study.records import TrialRecord
from search.study.view import trial_folder

NEVER = 0.01
"""Chance to win below which the weights of a trial may go."""
REMOVED = "removed.txt"
"""In the folder of a trial whose weights went: why."""
STATE = "last.safetensors"
"""What a training needs to go on: of one that has ended, nobody."""
GB = 1e9


@dataclass(frozen=True)
class Cleared:
    """What went: trials whose weights are gone, those of them that were waiting, and the bytes that are left."""

    removed: tuple[int, ...]
    given_up: tuple[int, ...]
    left: int


def clear(
    folder: Path, records: Sequence[TrialRecord], most_gb: float, keep: Collection[int],
    chances: Callable[[], Mapping[int, float]], give_up: Callable[[int], None],
) -> Cleared:  # fmt: skip
    """Remove files of trials until a study takes no more than it may, the least useful first.

    First what finished trainings would need to go on, then weights of trials that were stopped or failed, then of those
    that ended or wait and whose chance to win is below 1 %, the smallest first. All else stays, whatever it takes.

    Args:
        folder: of the study.
        records: its trials.
        most_gb: what it may take, in GB (1e9 bytes).
        keep: numbers of trials that are never touched: those that would win now, and those that others start from.
        chances: asked only where the first two steps are not enough.
        give_up: ends a paused trial, before its weights go: one that is killed in between leaves none without them.
    """
    left = used(folder)
    removed: list[int] = []
    given_up: list[int] = []
    for file in _states(folder, records):
        if left <= most_gb * GB:
            break
        left -= file.stat().st_size
        file.unlink()
    for record in _in_order(records, chances):
        if left <= most_gb * GB:
            break
        run = trial_folder(folder, record.number)
        if record.number in keep or not _weighs(run):
            continue
        left -= used(run / "checkpoints")
        if record.state == "paused":
            give_up(record.number)
            given_up.append(record.number)
        write_atomic(run / REMOVED, "its weights had to go: disk_gb, and it could hardly win any more\n")
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
        removed.append(record.number)
    return Cleared(tuple(removed), tuple(given_up), left)


def used(folder: Path) -> int:
    """Bytes of all files below a folder; what another process removes meanwhile counts nothing."""
    found = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = os.lstat(os.path.join(root, name))
                found += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return found


def was_removed(run: Path) -> bool:
    """Whether the weights of a trial are gone."""
    return (run / REMOVED).is_file()


def _states(folder: Path, records: Sequence[TrialRecord]) -> Iterator[Path]:
    for record in records:
        file = trial_folder(folder, record.number) / "checkpoints" / STATE
        if record.state in ("completed", "stopped", "failed") and file.is_file():
            yield file


def _in_order(records: Sequence[TrialRecord], chances: Callable[[], Mapping[int, float]]) -> Iterator[TrialRecord]:
    """Whose weights go first."""
    yield from (record for record in records if record.state in ("stopped", "failed") and not _shared(record, records))
    known = chances()
    # A network that several trials share is worth what the best of them is.
    worth = {
        record.number: max(
            (known.get(one.number, 1.0) for one in records if record.number in (one.number, one.trained_in)),
            default=1.0,
        )
        for record in records
        if record.state in ("completed", "paused") and record.trained_in != ELSEWHERE
    }
    by_number = {record.number: record for record in records}
    yield from (by_number[n] for n in sorted(worth, key=lambda n: worth[n]) if worth[n] < NEVER)


def _shared(record: TrialRecord, records: Sequence[TrialRecord]) -> bool:
    return any(one.trained_in == record.number for one in records if one.number != record.number)


def _weighs(run: Path) -> bool:
    return (run / "checkpoints").is_dir()
