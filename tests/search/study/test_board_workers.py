"""Many workers on one study share boards: nothing is lost, doubled or mixed up, and no board stands idle."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.boards_scale import run_scale
from benchmarks.postgresql import find_programs, serve
from bevlite.latency.onnx.identity import module_identity
from bevlite.simulation.jetson.faults import Faults
from bevlite.variant import Variant
from search.latency.log import MeasurementLog
from search.study.study import Study
from search.study.workers import run_workers
from tests.search.boards import BoardBackend, add_device, load, served
from tests.search.waiting import HANG_S, wait_until

BUSY = 0.85


def test_eight_workers_share_two_boards(tmp_path: Path) -> None:
    programs = find_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL (Debian: postgresql); CI installs it")
    if shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        pytest.skip("needs the OpenSSH server (Debian: openssh-server); CI installs it")
    with serve(programs) as url:
        found = run_scale(tmp_path, measurements=10, workers=8, boards=2, storage=url)
    # Nothing lost: every trial ended with a latency, and all that these are made of is in the log.
    assert len(found.records) == 10 and {record.state for record in found.records} == {"completed"}
    logged = {row.latency_ms for entry in found.entries for row in entry.report.modules}
    assert all(set(r.engines.modules.values()) <= logged for r in found.records if r.engines)
    assert all(record.engines is not None for record in found.records)
    # Nothing doubled: one lease and one entry for each measurement.
    assert max(Counter(entry.identity for entry in found.entries).values()) == 1 and len(found.entries) >= 11
    assert sum(len(spans) for spans in found.leases.values()) == len(found.entries)
    # Nothing mixed up: each figure is of the engine of its own graph, on the board that the report names.
    log = tmp_path / "study" / "latency"
    engines = set()
    for entry in found.entries:
        (row,) = entry.report.modules
        assert row.measured is not None and row.measured.engine is not None
        engines.add(row.measured.engine.key)
        assert row.identity == module_identity(log / entry.graph, entry.precision, entry.where)
        owners = [owner for owner, _ in found.leases[entry.report.device]]
        assert any(owner.startswith(entry.worker + ":") for owner in owners)
    assert len(engines) == len(found.entries)
    # One at a time on each board, for at least 3 s, and none idle while somebody waited.
    for spans in found.leases.values():
        ordered = sorted(span for _, span in spans)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
    assert found.held_s[0] >= 3.0
    assert min(found.busy.values()) >= BUSY, found.busy


@contextmanager
def ended_when_it_hangs() -> Iterator[None]:
    """Processes that wait for each other for ever are ended: the test fails then, instead of lasting for hours."""
    timer = threading.Timer(HANG_S, lambda: [child.terminate() for child in multiprocessing.active_children()])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Dying(BoardBackend):
    """The first process that holds the lease of the board is killed with it in its hand, while its engine is built."""

    def __init__(self, folder: Path, search: Any, root: Path, faults: Faults) -> None:
        super().__init__(folder, search)
        self.folder, self.root = folder, root
        self.faults = faults

    def latency(self, variant: Variant) -> Any:
        if not (self.folder / "killed").exists():
            threading.Thread(target=self._die, daemon=True).start()
        return super().latency(variant)

    def _die(self) -> None:
        wait_until(lambda: self.faults.active("hang") is None)  # the build has begun, and stands still
        (file,) = self.root.glob("home/*/.bevlite/lease.json")
        if f":{os.getpid()}:" in json.loads(file.read_text())["owner"]:
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_killed_with_the_lease_in_its_hand_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))
    with served(tmp_path, "a") as (board, server), ended_when_it_hangs():
        # The lease goes with the connection: nobody waits for the days until it expires.
        add_device(tmp_path / "devices", "a", server, limits={"lease_ttl_s": 1e6})
        board.faults.set("hang", phase="build", times=1)
        search = load(tmp_path, {"boards": ["a"]}, trials=2)
        backend = Dying(tmp_path, search, server.root, board.faults)
        study = Study(search, tmp_path / "study", backend, lambda line: None)
        said: list[str] = []
        run_workers(study, 2, 1, said.append)
    assert "killed by SIGKILL" in said[-1] and (tmp_path / "killed").exists()
    assert [record.state for record in study.records] == ["completed"] * 2
    entries = MeasurementLog(tmp_path / "study" / "latency" / "measurements.jsonl").entries
    assert len({entry.identity for entry in entries}) == len(entries) >= 3
