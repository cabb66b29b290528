"""Accuracy of engines: the same figures as torch, resumable, and never as those of a real board."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from bevlite.cli import deploy as deploy_cli
from bevlite.cli import device as device_cli
from bevlite.cli import evaluate as evaluate_cli
from bevlite.data.config import DataConfig
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.inference import Inference
from bevlite.devices.link import faults
from bevlite.errors import BevliteError, DataError
from bevlite.evaluation.run import evaluate_run
from bevlite.evaluation.samples import KeptSamples
from bevlite.export.of_run import request_of_run
from bevlite.export.real import real_batches
from bevlite.inference.engines import EngineNetwork
from bevlite.inference.onnx import OnnxNetwork
from bevlite.metrics.detection import evaluate_submission
from bevlite.run_folder import Run
from tests.deploy.conftest import add_device
from tests.devices.conftest import Served

app = typer.Typer()
for module in (deploy_cli, device_cli, evaluate_cli):
    module.register(app)


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*map(str, words)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_an_interrupted_evaluation_sends_no_sample_twice(
    run: Run, device: BoardDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    infer = device.infer

    def counted(modules, frames, *rest) -> Inference:  # type: ignore[no-untyped-def]
        if len(sent) == 2:
            raise faults.ConnectionLost("board", "gone")
        sent.extend(hash(frame["pillars"].tobytes()) for frame in frames)
        return infer(modules, frames, *rest)

    monkeypatch.setattr(device, "infer", counted)
    arguments = {"backend": "tensorrt", "device": device, "batch_size": 1, "workers": 0}
    with pytest.raises(faults.ConnectionLost):
        evaluate_run(run.path, **arguments)  # type: ignore[arg-type]
    folder = run.path / "eval" / "mini_val-tensorrt-emulated"
    assert len(list((folder / "unfinished").glob("*.npz"))) == 2 and not (run.path / "ledger.json").exists()
    sent.append(0)  # the board is there again
    summary = evaluate_run(run.path, **arguments)  # type: ignore[arg-type]
    del sent[2]
    assert len(sent) == len(set(sent)) == summary["samples"] == 3
    assert not (folder / "unfinished").exists() and json.loads((folder / "metrics.json").read_text()) == summary
    entry = json.loads((run.path / "ledger.json").read_text())["emulated/emulated"]
    assert entry["emulated"] is True and entry["tensorrt"] == "10.3.0" and entry["runner"] == "tensorrt python"
    in_torch = evaluate_run(run.path, workers=0)
    assert summary["NDS"] == pytest.approx(in_torch["NDS"], abs=0.02)


def test_kept_samples_count_only_for_the_same_engines(tmp_path: Path) -> None:
    matrix = np.arange(324).reshape(18, 18)
    kept = KeptSamples(tmp_path / "unfinished", {"modules": "a"})
    kept.save("one", {"occupancy": {"confusion": matrix}, "detection": {"boxes": matrix[:2], "scores": matrix[0]}})
    (found,) = KeptSamples(tmp_path / "unfinished", {"modules": "a"}).load().values()
    assert set(found) == {"occupancy", "detection"} and set(found["detection"]) == {"boxes", "scores"}
    assert np.array_equal(found["occupancy"]["confusion"], matrix)
    assert KeptSamples(tmp_path / "unfinished", {"modules": "b"}).load() == {}


def test_the_commands(run: Run, device: BoardDevice, served: Served) -> None:
    add_device(served, "desk")
    code, output = call("deploy", run.path, "--device", "desk", "--budget-ms", 0.01)
    assert code == 3 and "it proves nothing" in output and (run.path / "deploy/desk/report.html").is_file()
    assert re.search(r"latency P99.+<= 0\.01 ms.+no", output)
    code, output = call("eval", run.path, "--backend", "tensorrt", "--device", "desk")
    assert code == 0 and "EMULATED: desk is no board" in output and "NDS" in output
    served.board.faults.set("nan_outputs")
    code, output = call("device", "check-engine", run.path, "--device", "desk", "--samples", 1)
    assert code == 1 and "first bad layer" in output and "100.00%" in output and "EMULATED" in output


def test_a_submission_without_a_box_is_one_line(tmp_path: Path, world: DataConfig) -> None:
    """What an engine gives whose outputs are NaN."""
    (tmp_path / "empty.json").write_text('{"meta": {}, "results": {"a": [], "b": []}}')
    with pytest.raises(DataError, match="holds no box at all"):
        evaluate_submission(world, "mini_val", tmp_path / "empty.json")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend", "tensorrt"), "go together"),
        (("--device", "desk"), "go together"),
        (("--backend", "tensorrt", "--device", "onnxruntime"), "one board"),
        (("--backend", "trt"), "torch, onnx, tensorrt"),
    ],
)
def test_backend_and_device_go_together(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(BevliteError, match=message):
        call("eval", tmp_path, *words)


def test_every_sample_gets_its_own_maps(run: Run, device: BoardDevice) -> None:
    """Scores of a random network would not show samples that were mixed up."""
    (one, *_), _ = real_batches(run, 1)
    found = request_of_run(run, "10.3.0")
    onnx = OnnxNetwork(run.variant(), found.files)
    maps = ["heatmap", "boxes"]
    engines = EngineNetwork(device, found.files, found.precision, onnx.inputs, maps)
    # Three that differ by far more than FP16 rounds: a random network hardly heeds the few points of a small world.
    pillars = torch.cat([one["pillars"] * factor for factor in (1, 1000, -1000)])
    batch = {"row": [0, 1, 2], "pillars": pillars, "pillar_index": torch.cat([one["pillar_index"]] * 3)}
    ours, theirs = engines(batch), onnx(batch)
    for name in maps:
        a, b = ours[name].astype(np.float64), theirs[name].astype(np.float64)
        own = np.abs(a - b).mean(axis=(1, 2, 3))
        other = np.abs(a - np.roll(b, 1, axis=0)).mean(axis=(1, 2, 3))
        assert ours[name].dtype == np.float32 and (own < 0.1 * other).all(), (name, own, other)
