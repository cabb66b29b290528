from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from bevlite.errors import BevliteError, DataError
from bevlite.variant import Variant
from search.study.study import Study
from search.study.workers import run_workers
from tests.search.fakes import SEARCH, FakeBackend, load, run_study
from tests.search.waiting import HANG_S, wait_until

ROOT = Path(__file__).resolve().parents[3]


class Recording(FakeBackend):
    """Notes which process does what; one of them may be killed, or find the data unusable.

    Two processes wait for each other before they do anything, so that neither has done all before the other is there;
    where one was killed, the other waits for the one that takes its place.
    """

    def __init__(self, folder: Path, kill: bool = False, unusable: bool = False) -> None:
        super().__init__(folder)
        self.kill, self.unusable, self.folder = kill, unusable, folder

    def log(self, text: str) -> None:
        super().log(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {text}")
        if text == "scan":
            return  # one scans while the other waits for what comes of it
        (self.folder / f"here-{os.getpid()}").touch()
        wait_until(lambda: len(list(self.folder.glob("here-*"))) >= 2 + (self.folder / "killed").exists())

    def parameters(self, variant: Variant) -> int:
        if self.unusable:
            raise DataError("the data are gone")
        if self.kill and self._is_first("killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().parameters(variant)

    def _is_first(self, name: str) -> bool:
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def study_of(folder: Path, trials: int = 8, text: str = SEARCH, **fake: bool) -> tuple[Study, Recording]:
    backend = Recording(folder, **fake)
    return Study(load(folder, text, trials), folder / "study", backend, lambda line: None), backend


def test_two_workers_do_every_trial_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    study, backend = study_of(tmp_path)
    said: list[str] = []
    run_workers(study, 2, 1, said.append)
    assert [record.number for record in study.records] == list(range(8))
    assert {record.state for record in study.records} <= {"completed", "stopped", "rejected"}
    calls = [call.split(maxsplit=2) for call in backend.calls]
    assert len({process for process, _, _ in calls}) == 2
    assert os.getpid() not in {int(process) for process, _, _ in calls}
    assert max(Counter(call for _, _, call in calls if call.startswith("end")).values()) == 1
    cores = len(os.sched_getaffinity(0))
    assert {threads for _, threads, _ in calls} == {str(max(1, cores // 2))}
    assert said[0] == f"2 workers, each with {max(1, cores // 2)} of {cores} cores"
    assert sum("completed" in line or "stopped" in line for line in said) == 8  # what workers say comes here
    assert "OMP_NUM_THREADS" not in os.environ


def test_two_workers_with_a_model_train_no_epoch_twice(tmp_path: Path) -> None:
    """Trials are paused by one and gone on with by the other; one that is killed leaves its trial to it."""
    study, backend = study_of(tmp_path, text=SEARCH.replace("sampler: tpe", "sampler: model"), kill=True)
    run_workers(study, 2, 1, lambda line: None)
    calls = [call.split(maxsplit=2)[2] for call in backend.calls]
    ended = Counter(call for call in calls if call.startswith("end"))
    assert max(ended.values()) == 1 and calls.count("scan") == 1
    records = study.records
    assert {record.state for record in records} <= {"completed", "paused"} and not study.unfinished
    assert sum(record.last_epoch for record in records) == len(ended) >= 8 * 4
    assert len(ended) <= 8 * 4 + 2 + 2  # the last rung of each worker
    assert len({record.network_hash for record in records}) == len(records)


def test_a_killed_worker_is_announced_and_replaced_and_its_trial_done(tmp_path: Path) -> None:
    study, backend = study_of(tmp_path, kill=True)
    said: list[str] = []
    run_workers(study, 2, 1, said.append)
    assert sum(bool(re.search(r"^worker [12] \(killed by SIGKILL\): another takes its place$", x)) for x in said) == 1
    assert re.search(r"worker [12] \(killed by SIGKILL\); the other workers did its work", said[-1])
    assert len({call.split()[0] for call in backend.calls}) == 3
    assert not study.unfinished and len(study.records) == 8


def test_what_no_trial_escapes_ends_the_search(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study, _ = study_of(tmp_path, unusable=True)
    with pytest.raises(BevliteError, match=r"worker 1 \(exit code 2\), worker 2 \(exit code 2\); the same command"):
        run_workers(study, 2, 1, lambda line: None)
    assert "worker 1: the data are gone\n" in capfd.readouterr().err


SEARCHING = """
import sys
from pathlib import Path
from search import cli
from search.study import local_backend
from tests.search.fakes import FakeBackend
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    local_backend.make_backend = lambda search, out, devices: FakeBackend(folder, hold="begin .* 2")
    cli.app(["run", str(folder / "search.yaml"), "--out", str(folder / "study"), "--trials", "6", "--workers", "2"])
"""


SOON_S = 10.0
"""Within which workers end whose search was killed: a quarter of a second on a machine with nothing else to do."""


def start(folder: Path) -> subprocess.Popen[bytes]:
    load(folder)
    (folder / "searching.py").write_text(SEARCHING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(folder / "searching.py"), str(folder)]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True)


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("way", ["Ctrl-C", "kill -9"])
def test_stopped_workers_go_with_the_search_and_nothing_is_lost(tmp_path: Path, way: str) -> None:
    process = start(tmp_path)
    backend = FakeBackend(tmp_path)
    held = re.compile(r"begin \d+ 2")
    wait_until(lambda: len({call for call in backend.calls if held.fullmatch(call)}) == 2, process)
    if way == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the group
        _, error = process.communicate(timeout=HANG_S)
        assert process.returncode == 130
        lines = error.decode().strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("stopped; nothing that was finished is lost."), lines
    else:
        process.kill()
        process.wait()
        killed = time.monotonic()
    wait_until(lambda: group_is_gone(process.pid))
    if way == "kill -9":
        assert time.monotonic() - killed < SOON_S
        assert process.stderr is not None
        said = process.stderr.read().decode()
        assert said == ""
    finished = [call for call in backend.calls if call.startswith("end")]
    assert len(finished) >= 2
    study, backend = run_study(tmp_path, trials=6)
    assert len(study.records) == 6 and not study.unfinished
    ends = [call for call in backend.calls if call.startswith("end")]
    assert ends[: len(finished)] == finished and max(Counter(ends).values()) == 1
