"""Boards that die in the middle of a study: it goes on with the others, or ends and can be taken up again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bevlite.devices.files import open_board
from bevlite.devices.orin import orin
from bevlite.simulation.jetson.board import EmulatedBoard
from search.latency import pool
from search.latency.log import Entry, MeasurementLog, NoLatency
from search.study.study import Study
from search.study.workers import run_workers
from tests.devices.conftest import require_sshd
from tests.search.boards import BoardBackend, add_device, load
from tests.search.waiting import HANG_S, wait_until


class Switched:
    """A board with a plug: off, its ssh server is gone and all that ran on it."""

    def __init__(self, devices: Path, name: str, folder: Path, seed: int, reconnect_s: float) -> None:
        self.name, self._devices, self._reconnect_s = name, devices, reconnect_s
        self.board = EmulatedBoard.create(folder / name, tensorrt="10.3.0", time_scale=0.01, seed=seed)
        self._running = ExitStack()

    def on(self) -> None:
        server = self._running.enter_context(self.board.serve())
        add_device(self._devices, self.name, server, limits={"reconnect_s": self._reconnect_s})

    def off(self) -> None:
        self._running.close()

    @property
    def is_taken(self) -> bool:
        return any(self.board.root.glob("home/*/.bevlite/lease.json"))

    def off_when_taken(self) -> threading.Thread:
        """Pull the plug in the middle of the next build: it stands still there until the plug is out."""
        self.board.faults.set("hang", phase="build", times=1)

        def watch() -> None:
            wait_until(lambda: self.board.faults.active("hang") is None)
            self.off()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread


@contextmanager
def switched(folder: Path, **reconnect_s: float) -> Iterator[list[Switched]]:
    """Boards by name, with how long each is waited for when it was lost."""
    require_sshd()
    named = enumerate(reconnect_s.items())
    boards = [Switched(folder / "devices", name, folder, seed, wait_s) for seed, (name, wait_s) in named]
    try:
        for board in boards:
            board.on()
        yield boards
    finally:
        for board in boards:
            board.off()


@pytest.fixture(autouse=True)
def device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))


def study_of(folder: Path, device: dict[str, Any], trials: int) -> tuple[Study, BoardBackend]:
    search = load(folder, device, trials=trials)
    backend = BoardBackend(folder, search)
    return Study(search, folder / "study", backend, lambda line: None), backend


def entries_of(folder: Path) -> list[Entry]:
    return MeasurementLog(folder / "study" / "latency" / "measurements.jsonl").entries


def require_nothing_lost(study: Study, trials: int) -> None:
    """Every trial has the latency of engines that are in the log, each measured once."""
    assert [record.state for record in study.records] == ["completed"] * trials
    entries = entries_of(study.folder.parent)
    assert len({entry.identity for entry in entries}) == len(entries)
    logged = {row.latency_ms for entry in entries for row in entry.report.modules}
    for record in study.records:
        assert record.engines is not None and set(record.engines.modules.values()) <= logged


def test_a_board_that_dies_while_it_measures_leaves_its_work_to_the_other(tmp_path: Path) -> None:
    with switched(tmp_path, a=0.5, b=0.5) as (first, second):
        study, backend = study_of(tmp_path, {"boards": ["a", "b"]}, trials=2)
        backend.boards(study.search.base)
        before = entries_of(tmp_path)
        with open_board("a") as holder:
            holder.acquire(0.0)  # so that the next measurement is the second board's
            dying = second.off_when_taken()
            waiting = threading.Thread(target=lambda: (dying.join(), holder.release()))
            waiting.start()
            study.run()
            waiting.join()
        backend.boards.close()
        assert not first.is_taken
    require_nothing_lost(study, 2)
    after = entries_of(tmp_path)[len(before) :]
    assert after and {entry.report.device for entry in after} == {"a"}


def test_the_only_board_that_dies_ends_the_study_which_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with switched(tmp_path, a=0.5) as (board,):
        study, backend = study_of(tmp_path, {"boards": ["a"], "wait_s": 1.0}, trials=1)
        study.run()
        kept = entries_of(tmp_path)
        backend.boards.close()

        study, backend = study_of(tmp_path, {"boards": ["a"], "wait_s": 1.0}, trials=2)
        dying = board.off_when_taken()
        with pytest.raises(NoLatency, match=r"no board can measure: a: .*Connection refused") as caught:
            study.run()
        dying.join()
        assert "\n" not in str(caught.value)
        assert [record.state for record in study.records] == ["completed", "running"]
        backend.boards.close()
        assert entries_of(tmp_path) == kept

        board.on()
        study, backend = study_of(tmp_path, {"boards": ["a"], "wait_s": 1.0}, trials=2)
        study.run()
        backend.boards.close()
    require_nothing_lost(study, 2)
    assert entries_of(tmp_path)[: len(kept)] == kept


def test_the_only_board_that_is_back_in_time_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pool, "orin", lambda name, settings: orin(name, settings, said.append))
    with switched(tmp_path, a=HANG_S) as (board,):
        study, backend = study_of(tmp_path, {"boards": ["a"]}, trials=1)
        dying = board.off_when_taken()

        def come_back() -> None:
            dying.join()
            wait_until(lambda: any("Connection refused" in line for line in said))
            board.on()

        back = threading.Thread(target=come_back, daemon=True)
        back.start()
        study.run()
        back.join()
        backend.boards.close()
    require_nothing_lost(study, 1)
    notes = [note for entry in entries_of(tmp_path) for note in entry.report.notes]
    assert any("tried again after unreachable" in note for note in notes)


def test_two_workers_lose_nothing_to_a_board_that_dies_and_one_with_faults(tmp_path: Path) -> None:
    with switched(tmp_path, a=HANG_S, b=0.5) as (first, second):
        first.board.faults.set("connection_drop", phase="measure", times=1)
        first.board.faults.set("reboot", during="build", times=1, skip=1)
        first.board.faults.set("truncated_json", times=1, skip=8)
        study, _ = study_of(tmp_path, {"boards": ["a", "b"]}, trials=3)
        dying = second.off_when_taken()
        run_workers(study, 2, 1, lambda line: None)
        dying.join()
    require_nothing_lost(study, 3)
    notes = [note for entry in entries_of(tmp_path) for note in entry.report.notes]
    for code in ("connection_lost", "board_rebooted", "truncated_json"):
        assert any(f"tried again after {code}" in note for note in notes), (code, notes)
