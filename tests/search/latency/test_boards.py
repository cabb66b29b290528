"""A search that measures: modules once, winners whole, every measurement in a log that can be replayed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevlite.devices.calibration import read_evidence
from bevlite.errors import BevliteError
from bevlite.latency.device import find_device
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.server import RunningBoard
from search.latency.log import MeasurementLog, NoLatency
from search.study.study import Study
from tests.search.boards import BoardBackend, add_device, load, served
from tests.search.waiting import OwnClock

Orin = tuple[EmulatedBoard, RunningBoard]


@pytest.fixture(autouse=True)
def device_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))
    return tmp_path / "devices"


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Orin, Orin]]:
    folder = tmp_path_factory.mktemp("boards")
    with served(folder, "a") as first, served(folder, "b", seed=1) as second:
        yield first, second


@pytest.fixture
def pair(boards: tuple[Orin, Orin], device_files: Path) -> Iterator[tuple[Orin, Orin]]:
    for name, (board, server) in zip("ab", boards, strict=True):
        board.faults.clear()
        add_device(device_files, name, server, limits={"reconnect_s": 2.0})
    yield boards
    for board, _ in boards:
        board.faults.clear()


def run(
    folder: Path, device: dict[str, object], study: str = "study", clock: OwnClock | None = None, **changes: object
) -> tuple[Study, BoardBackend]:
    search = load(folder, device, **changes)
    backend = BoardBackend(folder, search, study=study, clock=clock)
    found = Study(search, folder / study, backend, lambda line: None)
    try:
        found.run()
    finally:
        backend.boards.close()
    return found, backend


def log_of(folder: Path, study: str = "study") -> MeasurementLog:
    return MeasurementLog(folder / study / "latency" / "measurements.jsonl")


def test_a_study_measures_each_module_once_and_is_run_again_from_its_log(
    pair: tuple[Orin, Orin], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, _ = run(tmp_path, {"boards": ["a"]}, trials=2)
    entries = log_of(tmp_path).entries
    modules = [entry.module for entry in entries if entry.scope == "module"]
    assert modules.count("lidar") == 1 and modules.count("fusion_heads") == 2  # both networks share what is alike
    sums = {e.identity: e.report.total_ms for e in entries}
    for record in study.records:
        assert record.engines is not None and record.latency is not None
        assert record.engines.kind == "emulated" and record.engines.basis == "engines"
        assert record.engines.total_ms == pytest.approx(sum(record.engines.modules.values()))
        assert set(record.engines.modules.values()) <= set(sums.values())
        assert record.latency.missing == ("pillarisation", "decoding")  # no kernels for them on the board yet
    assert study.outcome.choice is not None
    winner, _ = study.outcome.choice
    assert winner.whole is not None and winner.latency == winner.whole
    (whole,) = [e for e in entries if e.scope == "whole" and e.report.total_ms == winner.whole.total_ms]
    assert whole.variant == winner.variant_hash and whole.report.kind == "emulated"
    assert study.outcome.corrections["emulated"].networks == sum(e.scope == "whole" for e in entries)

    # Again, without any board.
    (tmp_path / "devices" / "a.yaml").unlink()
    again, _ = run(tmp_path, {"replay": str(log_of(tmp_path).path)}, "again", trials=2)
    assert [r.latency for r in again.records] == [r.latency for r in study.records]
    assert [r.params for r in again.records] == [r.params for r in study.records]
    assert not log_of(tmp_path, "again").path.exists()

    # A line that is missing, and one that was cut off, are not made up: the message names what they held.
    lines = log_of(tmp_path).path.read_text().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    lost = next(i for i, line in enumerate(lines) if json.loads(line)["module"] == "lidar")
    cut.write_text("".join(lines[:lost]) + lines[lost][:200] + "\n" + "".join(lines[lost + 1 :]))
    identity = json.loads(lines[lost])["identity"]
    with pytest.raises(NoLatency, match=rf"no measurement of module 'lidar' \({identity}, emulated/agx-orin-64gb/"):
        run(tmp_path, {"replay": str(cut)}, "third")

    # And every measurement can calibrate the predictor, as what it is.
    evidence = read_evidence([log_of(tmp_path).path], find_device("agx-orin-64gb"))
    assert evidence.emulated and len(evidence.measurements) == len(entries)
    assert {m.family for m in evidence.measurements} == {"lidar", "fusion_heads", "network"}
    assert all(m.kernels and m.top.clock_mhz == 1300.5 for m in evidence.measurements)


def test_two_logs_of_different_conditions_are_not_mixed(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(NoLatency, match="found no measurements"):
        run(tmp_path, {"replay": str(empty)})


def test_a_refused_network_fails_its_trial_and_the_study_goes_on(pair: tuple[Orin, Orin], tmp_path: Path) -> None:
    (board, _), _ = pair
    board.faults.set("out_of_memory", times=1)
    study, _ = run(tmp_path, {"boards": ["a"]}, trials=2, space={"fusion.channels": [40, 48]})
    states = [record.state for record in study.records]
    assert states == ["failed", "completed"]
    assert "not enough memory on the board" in study.records[0].reason and "\n" not in study.records[0].reason


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        ("connection_drop", {"phase": "build"}),
        ("connection_drop", {"phase": "measure"}),
        ("reboot", {"during": "build"}),
    ],
    ids=str,
)
def test_what_passes_costs_the_study_nothing(
    pair: tuple[Orin, Orin], tmp_path: Path, fault: str, parameters: dict[str, str], device_files: Path
) -> None:
    (board, server), _ = pair
    add_device(device_files, "a", server)
    board.faults.set(fault, times=1, **parameters)
    # What is measured here is measured by no other test: a board keeps its engines.
    channels = 56 + 8 * len(fault + "".join(parameters.values()))
    study, _ = run(tmp_path, {"boards": ["a"]}, trials=1, space={"fusion.channels": [channels]})
    assert [record.state for record in study.records] == ["completed"]
    notes = [note for entry in log_of(tmp_path).entries for note in entry.report.notes]
    assert any("tried again after" in note for note in notes), notes


def test_a_dead_board_loses_nothing_to_the_other(pair: tuple[Orin, Orin], tmp_path: Path) -> None:
    _, (second, _) = pair
    search = load(tmp_path, {"boards": ["a", "b"]}, trials=3)
    backend = BoardBackend(tmp_path, search)
    study = Study(search, tmp_path / "study", backend, lambda line: None)
    backend.boards(search.base)  # both were there when the study began
    second.faults.set("trtexec_missing")
    second.faults.set("connection_drop", phase="copy", after=0)
    study.run()
    backend.boards.close()
    assert {record.state for record in study.records} == {"completed"}
    entries = log_of(tmp_path).entries
    assert len({e.identity for e in entries}) == len(entries)
    assert {e.report.device for e in entries[2:]} == {"a"}


def test_without_a_board_and_without_leave_to_predict_the_trial_waits_and_stays_open(
    pair: tuple[Orin, Orin], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (board, _), _ = pair
    board.faults.set("auth_refused")
    clock = OwnClock()
    with pytest.raises(NoLatency, match=r"no board answers: a: .*Permission denied"):
        run(tmp_path, {"boards": ["a"], "wait_s": 45.0}, clock=clock, trials=1)
    assert clock.slept == [30.0, 15.0]
    assert "waiting for up to 45 s" in capsys.readouterr().out
    board.faults.clear()
    study, _ = run(tmp_path, {"boards": ["a"], "wait_s": 0.0}, trials=1)
    assert [record.state for record in study.records] == ["completed"]  # the same trial, gone on with


def test_where_the_user_allows_it_a_prediction_stands_in_and_says_so(
    pair: tuple[Orin, Orin], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (board, _), _ = pair
    device = {"boards": ["a"], "unmeasured": "predict"}
    run(tmp_path, device, trials=1)
    board.faults.set("auth_refused")
    study, _ = run(tmp_path, device, trials=2)
    kinds = [record.latency.kind for record in study.records if record.latency]
    assert kinds == ["emulated", "predicted"]
    assert re.search(r"Permission denied.*PREDICTED instead", capsys.readouterr().out.replace("\n", " "))
    predicted = study.records[1].latency
    assert predicted is not None and predicted.missing == ("pillarisation", "decoding") and not predicted.pipeline
    assert len({entry.report.kind for entry in log_of(tmp_path).entries}) == 1  # no prediction in the log
    assert study.outcome.corrections["emulated"].networks == 1


def test_a_board_of_another_version_is_no_part_of_the_study(
    pair: tuple[Orin, Orin], tmp_path: Path, device_files: Path
) -> None:
    with served(tmp_path, "old", tensorrt="8.6.2") as (_, server):
        add_device(device_files, "old", server)
        with pytest.raises(NoLatency, match=r"tensorrt-10\.3\.0 on a and .*tensorrt-8\.6\.2 on old"):
            run(tmp_path, {"boards": ["a", "old"]}, trials=1)
        run(tmp_path, {"boards": ["a"]}, trials=1)
        with pytest.raises(NoLatency, match=r"found .*tensorrt-8\.6\.2; accepted: what the study was begun with"):
            run(tmp_path, {"boards": ["old"]}, trials=2)


def test_what_is_no_board_is_said_when_the_study_begins(pair: tuple[Orin, Orin], tmp_path: Path) -> None:
    with pytest.raises(NoLatency, match=r"device\.boards: found 'nobody'"):
        run(tmp_path, {"boards": ["nobody"]}, trials=1)
    with pytest.raises(BevliteError, match="unmeasured: found 'predict' without boards"):
        load(tmp_path, {"unmeasured": "predict"})
