from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest

from bevlite.errors import BevliteError, ConfigError, DataError, NothingFound
from bevlite.variant import Variant
from search.study.outcome import Outcome, no_feasible
from search.study.study import Study
from tests.search.fakes import SEARCH, FakeBackend, load, run_study
from tests.search.waiting import HANG_S, wait_until

SMALL = SEARCH.replace("startup_trials: 4", "startup_trials: 3")
OVER = SMALL.replace("budget_ms: 60", "budget_ms: 5") + "anchors: [{camera: r18}, {camera: none}, {camera: r50}]\n"
"""Nothing fits, and what a person asks for is looked at all the same."""


def test_over_the_budget_is_rejected_before_training(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, OVER, trials=5)
    assert [record.state for record in study.records] == ["rejected"] * 3
    assert not any(call.startswith("begin") for call in backend.calls)
    assert all("over the budget of 5 ms" in record.reason for record in study.records)
    assert all("predicted" in record.reason for record in study.records)


def test_no_feasible_trial_shows_the_least_infeasible(tmp_path: Path) -> None:
    study, _ = run_study(tmp_path, OVER, trials=5)
    outcome = Outcome(tuple(study.records), 5)
    assert outcome.choice is None and outcome.pareto == []
    fastest = min(study.records, key=lambda record: record.latency_ms or 0)
    text = no_feasible(outcome, "NDS")
    assert f"Least infeasible: trial {fastest.number} (predicted" in text


def test_more_limits_reject_too(tmp_path: Path) -> None:
    text = SMALL.replace("budget_ms: 60", "budget_ms: 60, max_params_m: 4")
    study, _ = run_study(tmp_path, text, trials=6)
    for record in study.records:
        assert (record.state == "rejected") == ((record.parameters or 0) > 4e6)


def test_states_and_values(tmp_path: Path) -> None:
    study, backend = run_study(tmp_path, trials=20)
    records = study.records
    assert len(records) == 20
    counts = Counter(record.state for record in records)
    assert counts["completed"] and counts["stopped"]
    for record, trial in zip(records, study.study.trials, strict=True):
        if record.state == "completed":
            assert record.last_epoch == 4 and trial.values == [record.accuracy, record.latency_ms]
        if record.state == "stopped":
            assert record.last_epoch in (1, 2) and record.accuracy is None and "against" in record.reason
    # No epoch was trained twice, and no latency computed twice.
    assert max(Counter(backend.calls).values()) == 1
    # What was stopped was not better than everything that was completed at no more latency.
    outcome = Outcome(tuple(records), 60)
    assert [r.latency_ms for r in outcome.pareto] == sorted(r.latency_ms or 0 for r in outcome.pareto)
    assert outcome.choice is not None and (outcome.choice[0].upper_ms or 99) <= 60


def test_invalid_combinations_are_rejected(tmp_path: Path) -> None:
    text = SMALL.replace("fusion.channels: [128, 192, 256]", "camera.neck.out_stride: [16, 12]")
    text = text.replace("values: [32, 48, 64, 80]", "values: [64]")
    text += "anchors: [{camera: r18, camera.neck.out_stride: 12}, {camera: r34, camera.neck.out_stride: 12}]\n"
    study, _ = run_study(tmp_path, text, trials=8)
    rejected, others = study.records[:2], study.records[2:]
    assert all(record.state == "rejected" and "invalid combination" in record.reason for record in rejected)
    assert all(record.violations == {"valid": 1.0} for record in rejected)
    assert len(others) == 3 and not any(record.state == "rejected" for record in others)  # the pool holds none of them


def test_a_nan_loss_fails_the_trial_and_the_study_goes_on(tmp_path: Path) -> None:
    study, _ = run_study(tmp_path, trials=10, nan_depth=34)
    failed = [record for record in study.records if record.state == "failed"]
    assert failed and all("NaN" in record.reason for record in failed)
    assert all(record.params["camera"] == "r34" for record in failed)
    assert any(record.state == "completed" for record in study.records)


def test_unusable_data_stop_the_study_and_lose_nothing(tmp_path: Path) -> None:
    class NoData(FakeBackend):
        def evaluate(self, run: Path, draws: bool = False) -> dict[str, object]:
            raise DataError("samples/CAM_FRONT is missing")

    study = Study(load(tmp_path, trials=3), tmp_path / "study", NoData(tmp_path), lambda line: None)
    with pytest.raises(DataError):
        study.run()
    assert [record.state for record in study.records] == ["running"]
    study, backend = run_study(tmp_path, trials=3)
    assert len(study.records) == 3 and all(record.state == "completed" for record in study.records)
    assert max(Counter(backend.calls).values()) <= 2  # latency was asked again, no epoch was trained again


def test_a_network_that_finds_nothing_fails_alone(tmp_path: Path) -> None:
    class Silent(FakeBackend):
        def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
            if run.name == "0001":
                raise NothingFound("nusc_results.json: holds no box at all; accepted: a network that finds something")
            return super().evaluate(run, draws)

    study = Study(load(tmp_path, trials=4), tmp_path / "study", Silent(tmp_path), lambda line: None)
    study.run()
    assert [record.state == "failed" for record in study.records] == [False, True, False, False]
    assert "holds no box at all" in study.records[1].reason


def test_what_may_have_passed_is_tried_once_more(tmp_path: Path) -> None:
    """Memory that others took for a moment costs no trial, and no epoch that was trained before."""

    class Crowded(FakeBackend):
        crowds = 0

        def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
            if run.name == "0001" and self.crowds < 1:
                self.crowds += 1
                raise RuntimeError("CUDA out of memory")
            return super().evaluate(run, draws)

    said, backend = list[str](), Crowded(tmp_path)
    study = Study(load(tmp_path), tmp_path / "study", backend, said.append)
    study.run()
    assert "failed" not in {record.state for record in study.records} and len(study.records) == 12
    assert sum("again     RuntimeError: CUDA out of memory; it may have passed" in line for line in said) == 1
    assert backend.calls.count("begin 0001 1") == 1


def test_unexpected_errors_again_and_again_stop_the_study(tmp_path: Path) -> None:
    class Broken(FakeBackend):
        def parameters(self, variant: Variant) -> int:
            raise RuntimeError("CUDA out of memory")

    study = Study(load(tmp_path), tmp_path / "study", Broken(tmp_path), lambda line: None)
    with pytest.raises(BevliteError, match="3 trials in a row failed unexpectedly"):
        study.run()
    assert [record.state for record in study.records] == ["failed"] * 3
    assert "RuntimeError: CUDA out of memory" in study.records[0].reason
    assert (tmp_path / "study" / "trials" / "0000" / "error.txt").is_file()


def test_a_small_space_ends_when_all_is_tried(tmp_path: Path) -> None:
    text = SEARCH.replace("values: [32, 48, 64, 80]", "values: [64]").replace("[128, 192, 256]", "[128]")
    study, _ = run_study(tmp_path, text, trials=30)
    assert len(study.records) == 4
    assert {record.params["camera"] for record in study.records} == {"none", "r18", "r34", "r50"}


def test_a_duplicate_reuses_the_result(tmp_path: Path) -> None:
    text = SEARCH + "anchors: [{camera: r18, fusion.channels: 128, alias: a}, "
    text += "{camera: r18, fusion.channels: 128, alias: b}]\n"
    text = text.replace(
        "  camera.view_transform.channels:\n    values: [32, 48, 64, 80]",
        "  alias:\n    choices: {a: {}, b: {}}",
    )
    study, backend = run_study(tmp_path, text, trials=2)
    first, second = study.records
    assert (first.params["alias"], second.params["alias"]) == ("a", "b")
    assert second.duplicate_of == 0 and second.state == first.state == "completed"
    assert second.accuracy == first.accuracy and second.latency == first.latency
    assert not any("0001" in call for call in backend.calls)
    assert [record.number for record in Outcome(tuple(study.records), 60).pareto] == [0]


def test_precision_alone_trains_nothing_again(tmp_path: Path) -> None:
    text = SEARCH + "anchors: [{camera: r18, fusion.channels: 128, compression.precision: fp16}, "
    text += "{camera: r18, fusion.channels: 128, compression.precision: fp32}]\n"
    text = text.replace(
        "  camera.view_transform.channels:\n    values: [32, 48, 64, 80]",
        "  compression.precision:\n    values: [fp16, fp32]",
    )
    study, backend = run_study(tmp_path, text, trials=2)
    first, second = study.records
    assert first.network_hash == second.network_hash and first.variant_hash != second.variant_hash
    assert second.state == "completed" and second.duplicate_of is None and second.rungs == first.rungs
    assert any("latency" in call and call.endswith(str(second.variant_hash)) for call in backend.calls)
    assert not any("0001" in call for call in backend.calls)  # no training of its own


def test_anchors_come_first(tmp_path: Path) -> None:
    text = SEARCH + "anchors: [{camera: none, fusion.channels: 256}, {camera: r18}]\n"
    study, _ = run_study(tmp_path, text, trials=3)
    assert study.records[0].params == {"camera": "none", "fusion.channels": 256}
    assert study.records[1].params["camera"] == "r18"


def test_another_space_is_refused_and_says_what_differs(tmp_path: Path) -> None:
    run_study(tmp_path, trials=2)
    with pytest.raises(ConfigError, match=r"holds another search \(space\.fusion\.channels\.values") as caught:
        run_study(tmp_path, SEARCH.replace("[128, 192, 256]", "[128, 192]"), trials=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"constraints\.budget_ms: 60\.0 there, 50\.0 here"):
        run_study(tmp_path, SEARCH.replace("budget_ms: 60", "budget_ms: 50"), trials=2)
    study, _ = run_study(tmp_path, trials=4)  # more trials are no other search
    assert len(study.records) == 4


def test_stopping_and_starting_proposes_the_same(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole, _ = run_study(tmp_path / "a", SMALL, trials=7)
    for trials in (2, 5, 7):
        parts, _ = run_study(tmp_path / "b", SMALL, trials=trials)
    assert [r.params for r in whole.records] == [r.params for r in parts.records]
    assert [r.state for r in whole.records] == [r.state for r in parts.records]


def test_floors(tmp_path: Path) -> None:
    study, _ = run_study(tmp_path, SEARCH + "objectives: {floors: {nds: 0.3}}\n", trials=8)
    completed = [record for record in study.records if record.state == "completed"]
    for record in completed:
        assert record.feasible == ((record.accuracy or 0) >= 0.3)
    assert all((record.accuracy or 0) >= 0.3 for record in Outcome(tuple(study.records), 60).pareto)


KILLED = """
import sys
from pathlib import Path
from search.study.study import Study
from tests.search.fakes import FakeBackend, load
folder = Path(sys.argv[1])
Study(load(folder, trials=4), folder / "study", FakeBackend(folder, hold=sys.argv[2]), print).run()
"""


def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED, str(tmp_path), "begin 0001 3"]
    process = subprocess.Popen(command, env=environment, cwd=root)
    backend = FakeBackend(tmp_path)
    wait_until(lambda: "begin 0001 3" in backend.calls, process)
    process.send_signal(signal.SIGKILL)
    process.wait()

    url = f"sqlite:///{tmp_path / 'study' / 'study.db'}"
    before = optuna.load_study(study_name="search", storage=url).trials
    assert [trial.state.name for trial in before][1] == "RUNNING"
    study, backend = run_study(tmp_path, trials=4)
    records = study.records
    assert len(records) == 4 and all(record.state in ("completed", "stopped") for record in records)
    assert records[1].params == before[1].params and records[1].state == "completed"
    assert study.study.trials[0].datetime_complete == before[0].datetime_complete
    # Every epoch was finished once; only the one that the kill hit was begun twice.
    ends = Counter(call for call in backend.calls if call.startswith("end"))
    begins = Counter(call for call in backend.calls if call.startswith("begin"))
    assert max(ends.values()) == 1 and ends["end 0001 4"] == 1
    assert [call for call, count in begins.items() if count > 1] == ["begin 0001 3"]


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED, str(tmp_path), "begin 0000 1"]
    process = subprocess.Popen(command, env=environment, cwd=root)
    backend = FakeBackend(tmp_path)
    wait_until(lambda: "begin 0000 1" in backend.calls, process)
    study, backend = run_study(tmp_path, trials=4)
    assert [record.number for record in study.records if record.state == "running"] == [0]
    (tmp_path / "go").touch()
    assert process.wait(timeout=HANG_S) == 0
    assert [record.number for record in study.records] == [0, 1, 2, 3] and not study.busy_elsewhere
    assert max(Counter(call for call in backend.calls if call.startswith("end")).values()) == 1
