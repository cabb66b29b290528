"""Trials in a shared folder: each is run once, whoever runs it, and what was killed is run again."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from bevlite.errors import BevliteError
from bevlite.evaluation.trials import Entry, Trials, helpers
from bevlite.locks import FileLock

NAMES = [f"cut {number}" for number in range(8)]


def note(folder: Path, name: str) -> Entry:
    """A trial that leaves a line with who ran it."""
    with (folder / "ran.txt").open("a") as stream:
        stream.write(f"{name}\n")
    time.sleep(0.01)
    return {"length": len(name)}


def with_the_other(folder: Path, name: str, number: int) -> Entry:
    """A trial that ends only once another process is at one too."""
    (folder / f"here-{number}").touch()
    limit = time.monotonic() + 30
    while not (folder / f"here-{1 - number}").exists() and time.monotonic() < limit:
        time.sleep(0.01)
    return note(folder, name) | {"by": number}


def help_on(number: int, folder: Path) -> None:
    Trials(folder, {"of": "weights"}).run(NAMES, lambda name: with_the_other(folder, name, number))


def hold(number: int, lock: Path) -> None:
    FileLock(lock).acquire()
    (lock.parent / "held").touch()
    time.sleep(60)


def test_every_trial_is_run_once_and_said(tmp_path: Path) -> None:
    said = []
    trials = Trials(tmp_path, {"of": "weights"})
    found = trials.run(NAMES, lambda name: note(tmp_path, name), lambda *news: said.append(news))
    assert [entry["trial"] for entry in found.values()] == list(found) == NAMES
    assert said == [(name, number, 8) for number, name in enumerate(NAMES, start=1)]
    again = Trials(tmp_path, {"of": "weights"})
    assert again.run(NAMES, lambda name: pytest.fail("run twice")) == found == again.done()
    other = Trials(tmp_path, {"of": "other weights"})
    assert other.folder != trials.folder and other.done() == {}


def test_a_damaged_or_a_failed_trial_is_run_again(tmp_path: Path) -> None:
    trials = Trials(tmp_path, {})

    def fail(name: str) -> Entry:
        if name == NAMES[2]:
            raise BevliteError("the GPU is gone")
        return note(tmp_path, name)

    with pytest.raises(BevliteError, match="the GPU is gone"):
        trials.run(NAMES, fail)
    assert list(trials.done()) != [] and len(trials.done()) == 2
    next(trials.folder.glob("trial-*.json")).write_text('{"trial": "cut')
    assert len(trials.done()) == 1
    trials.run(NAMES, lambda name: note(tmp_path, name))
    ran = (tmp_path / "ran.txt").read_text().splitlines()
    assert len(ran) == 9 and set(ran) == set(NAMES)


def test_two_processes_share_them_and_a_killed_one_costs_nothing(tmp_path: Path) -> None:
    with helpers(1, help_on, tmp_path):
        help_on(0, tmp_path)
    assert {entry["by"] for entry in Trials(tmp_path, {"of": "weights"}).done().values()} == {0, 1}
    assert sorted((tmp_path / "ran.txt").read_text().splitlines()) == NAMES
    trials = Trials(tmp_path, {"of": "others"})
    lock = trials._file(NAMES[0]).with_suffix(".lock")
    holder = multiprocessing.get_context("spawn").Process(target=hold, args=(0, lock))
    holder.start()
    try:
        while not (trials.folder / "held").exists():
            time.sleep(0.02)
        assert trials._attempt(NAMES[0], lambda name: pytest.fail("two at one trial")) is None
        holder.kill()  # and its lock dies with it
        holder.join()
        found = trials.run(NAMES[:1], lambda name: note(tmp_path, name))
    finally:
        holder.kill()
    assert json.loads(trials._file(NAMES[0]).read_text()) == found[NAMES[0]]
    with pytest.raises(BevliteError, match="devices: found 0; accepted: 1 to 257"), helpers(-1, hold):
        pass
