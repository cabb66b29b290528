"""A run on the emulated board, from export to verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bevlite.deploy import deploy as module
from bevlite.deploy.deploy import deploy
from bevlite.deploy.steps import KeptSteps
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.files import open_board
from bevlite.devices.link import faults
from bevlite.devices.report.deploy import EXIT_CODES, Budgets
from bevlite.devices.report.latency import LatencyReport
from bevlite.export.run import forms_for
from bevlite.run_folder import Run
from bevlite.tensorrt import form_for, version_key
from bevlite.training.checkpoints import save_weights
from tests.deploy.conftest import add_device
from tests.devices.conftest import Served
from tests.waiting import until

GENEROUS = Budgets(latency_ms=1000.0, fps=1.0, power_w=200.0, memory_mb=50000.0, drop=0.05)


def test_a_tiny_run_is_deployed_and_an_emulated_board_proves_nothing(run: Run, device: BoardDevice) -> None:
    report = deploy(run.path, device, GENEROUS)
    assert [(row.name, row.found) for row in report.limits if not row.met] == []
    assert report.all_met and report.verdict == "emulated" and EXIT_CODES[report.verdict] == 3
    assert report.engine.accurate and report.engine.golden is not None and report.engine.golden.first_bad is None
    assert {row.name for row in report.engine.golden.outputs} == {"lidar_bev", "heatmap", "boxes"}
    assert [row.name for row in report.limits] == [
        "latency P99", "frame rate", "power", "memory at peak", "accuracy drop"
    ]  # fmt: skip
    assert report.latency is not None and report.latency.kind == "emulated"
    frames = report.latency.end_to_end
    assert frames is not None and frames.one_in_flight is not None and frames.two_in_flight is not None
    assert report.limits[0].found == frames.one_in_flight.timing.p99_ms
    assert report.limits[0].basis == "end to end, one frame in flight; not in it: pillarisation, decoding"
    assert report.limits[1].found == frames.one_in_flight.throughput_fps < frames.two_in_flight.throughput_fps
    assert f"with two in flight {frames.two_in_flight.throughput_fps:.1f} 1/s" in report.limits[1].basis
    assert report.limits[3].found == frames.one_in_flight.memory_mb
    assert frames.samples is not None and frames.samples.real and frames.samples.count == 3
    assert frames.samples.pillars is not None and frames.samples.pillars.minimum > 0
    assert report.prediction is not None and report.prediction.measured_ms == report.latency.total_ms
    assert report.accuracy is not None and abs(report.accuracy.drops["NDS"]) < 0.05
    written = json.loads((run.path / "deploy/emulated/report.json").read_text())
    assert written["verdict"] == "emulated" and written["limits"][0]["met"] is True
    assert '"samples_ms": [' not in json.dumps(written), "every sample lies in latency.json"
    kept = LatencyReport.read(run.path / "deploy/emulated/latency.json")
    assert kept.end_to_end == frames and len(frames.one_in_flight.timing.samples_ms) >= 200
    page = (run.path / "deploy/emulated/report.html").read_text()
    assert "a rehearsal on an emulated board" in page and "lidar_bev" in page and "10.3.0" in page
    assert "two in flight" in page and 'pillarisation</td><td class="n no">missing' in page
    assert not (run.path / "deploy/emulated/unfinished").exists()
    ledger = json.loads((run.path / "ledger.json").read_text())
    assert ledger["emulated/emulated"]["emulated"] is True and "tensorrt/emulated" not in ledger
    # A finished deploy starts anew; the board has the engines.
    again = deploy(run.path, device, Budgets(latency_ms=0.001), end_to_end=False)
    p99 = sum(row.measured.timing.p99_ms for row in again.latency.modules if row.measured) if again.latency else 0.0
    assert again.limits[0].found == pytest.approx(p99) and "sum of the P99 of" in again.limits[0].basis
    assert not again.limits[0].met and not again.all_met and "golden: done" in again.steps
    assert again.latency is not None
    assert all(row.measured.engine.cached for row in again.latency.modules if row.measured and row.measured.engine)
    real = again.model_copy(update={"emulated": False})
    assert real.verdict == "fail" and EXIT_CODES[real.verdict] == 1
    assert report.model_copy(update={"emulated": False}).verdict == "pass" and EXIT_CODES["pass"] == 0


def test_nan_outputs_are_found_and_named(run: Run, device: BoardDevice, served: Served) -> None:
    served.board.faults.set("nan_outputs")
    report = deploy(run.path, device, Budgets(latency_ms=1000.0))
    golden = report.engine.golden
    assert golden is not None and not report.engine.accurate and not report.all_met
    assert all(row.not_finite == 1.0 for row in golden.outputs) and report.limits[0].met
    assert golden.first_bad is not None and golden.first_bad.module == "lidar"
    page = (run.path / "deploy/emulated/report.html").read_text()
    assert golden.first_bad.node in page and "Not accurate" in page
    assert report.model_copy(update={"emulated": False}).verdict == "fail"


def test_a_killed_deploy_goes_on(run: Run, served: Served, device: BoardDevice) -> None:
    """Killed for good in the middle of the measurement: the golden check is not done again."""
    add_device(served, "desk")
    golden = run.path / "deploy/desk/unfinished/golden.json"
    words = ("deploy", str(run.path), "--device", "desk", "--budget-ms", "1000")
    child = subprocess.Popen(
        [sys.executable, "-c", "from bevlite.cli.main import main; main()", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: golden.is_file() or child.poll() is not None)
    child.kill()
    child.wait()
    assert golden.is_file() and not (run.path / "deploy/desk/report.json").exists()
    with open_board("desk") as board:
        report = deploy(run.path, board, Budgets(latency_ms=1000.0))
    assert report.steps[:2] == ("golden: kept from an interrupted deploy", "latency: done") and report.all_met


def test_what_was_kept_of_other_engines_is_done_again(tmp_path: Path) -> None:
    budgets = Budgets(latency_ms=1.0)
    kept = KeptSteps(tmp_path / "unfinished", {"modules": "a"})
    assert kept.once("step", Budgets, lambda: budgets) == budgets
    again = KeptSteps(tmp_path / "unfinished", {"modules": "a"})
    assert again.once("step", Budgets, lambda: Budgets(latency_ms=2.0)) == budgets and "kept" in again.said[0]
    for _ in range(2):  # what is not to be kept is done again
        assert again.once("other", Budgets, lambda: budgets, keep=lambda result: False) == budgets
        assert again.said[-1] == "other: done"
    other = KeptSteps(tmp_path / "unfinished", {"modules": "b"})
    assert other.once("step", Budgets, lambda: Budgets(latency_ms=2.0)).latency_ms == 2.0


def test_an_engine_in_the_wrong_precision_is_a_verdict(run: Run, device: BoardDevice, served: Served) -> None:
    served.board.faults.set("fp32_engine")
    device.build = device.build.model_copy(update={"workspace_mb": 777})  # not the engines of other tests
    report = deploy(run.path, device, Budgets(latency_ms=1000.0))
    assert "fp16 was asked" in report.engine.refused and not report.engine.accurate
    assert report.limits[0].found is None and not report.limits[0].met


def test_a_board_that_cannot_be_reached_is_an_error(run: Run, device: BoardDevice, served: Served) -> None:
    served.board.faults.set("trtexec_missing")
    with pytest.raises(faults.TrtexecMissing):
        deploy(run.path, device, GENEROUS)
    assert not (run.path / "deploy").exists()


def test_new_weights_are_exported_again(run: Run) -> None:
    assert module._modules(run, "10.3.0")[1] == []
    weights = {name: value * 1.01 for name, value in run.weights().items() if value.is_floating_point()}
    save_weights(run, run.weights() | weights, run.variant(), {"epoch": 1})
    assert module._modules(run, "10.3.0")[1] == ["exported for TensorRT 10.3.0"]
    assert module._modules(run, "8.6.2")[1] == ["exported for TensorRT 8.6.2"]


@pytest.mark.parametrize(
    ("board", "export"),
    [
        ("8.5.2", "8.5"),
        ("8.6.2", "8.6"),
        ("10.0.1", "10.3"),
        ("10.7.0", "10.3"),
        ("10.16.2", "10.16"),
        ("11.4.1", "11.4"),
    ],
)
def test_every_version_of_a_board_has_an_export(board: str, export: str) -> None:
    assert version_key(board) == export
    ((form, versions),) = forms_for(export, "fp16")
    assert form.emission == ("weak" if board.startswith("8") else "strong") and versions == (export,)
    assert form_for(board) == form
