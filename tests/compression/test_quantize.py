"""A run is brought to INT8, trained on, exported and scored, by command and by function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bevlite
from bevlite.compression import qat as qat_module
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import lidar_only, live, short_recipe

WIDE = {"backbone": {"channels": [16, 32], "layers": [1, 1], "strides": [2, 2]}}


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    made, variant = Run(tmp_path / "run"), lidar_only(lidar=WIDE)
    made.create(variant, world, short_recipe(epochs=1), 0)
    torch.manual_seed(0)
    save_weights(made, live(Detector(variant)).state_dict(), variant, {"epoch": 1})
    return made


def outputs(run: Run, stage: Any) -> dict[str, np.ndarray]:
    """Raw maps of a stage on the first validation sample."""
    from bevlite.data.index import load_index
    from bevlite.inference.torch import TorchNetwork
    from bevlite.models.samples import dataset_of

    data, variant = run.data(), run.variant(stage)
    index = load_index(data)
    dataset = dataset_of(variant, data.root, index, index.rows_of_split(str(data.val_split))[:1])
    return TorchNetwork(run, stage=stage)(dataset.collate([dataset[0]]))


def test_from_float_to_trained_on(run: Run) -> None:
    before = run.variant()
    made = bevlite.quantize(run, method="max", samples=2, evaluate=False)
    again = Run(run.path)
    assert again.stages == ("float", "calibration") and again.variant() == made.variant
    assert made.variant.network_hash == before.network_hash and made.variant.hash != before.hash
    assert made.int8 and not set(made.int8) & set(made.floats)
    scales = again.scales()
    assert scales is not None and set(made.int8) <= set(scales)
    whole, eight = outputs(run, "float"), outputs(run, "calibration")
    for name, value in whole.items():
        error = np.sqrt(np.mean((eight[name] - value) ** 2) / np.mean(value**2))
        assert 0 < error < 0.1, name  # rounded, and near
    said: list[str] = []
    assert bevlite.quantize(run, method="max", samples=2, evaluate=False, say=said.append).kept
    assert said == ["calibrated already"]
    done = bevlite.qat(run, evaluate=False, progress=False)
    assert done.stages == ("float", "calibration", "qat") and done.scales() == scales
    fresh, trained = run.weights(stage="calibration"), run.weights(stage="qat")
    moved = {name for name, value in fresh.items() if not torch.equal(value, trained[name])}
    assert any(name.endswith("weight") for name in moved)
    assert not any("running" in name for name in moved)  # statistics are frozen
    # What comes before is made anew: nothing of the quantized network is left.
    bevlite.prune(run, ratios={"lidar": 0.5})
    assert Run(run.path).stages == ("float", "pruned") and not (run.path / "qat").exists()


def test_by_command(run: Run, command: Callable[..., str]) -> None:
    said = command("quantize", run.path, "--samples", 2, "--method", "max", "--precision", "lidar=int8")
    assert "lidar" in said and "layers in INT8" in said and "FP16, fewer than 16 channels gain nothing" in said
    assert "NDS" in said and "calibration.yaml" in said
    assert run.variant().precision == {"lidar": "int8", "fusion_heads": "fp16"}
    ledger = json.loads((run.path / "ledger.json").read_text())
    assert set(ledger) == {"calibration"}
    said = command("export", run.path, "--tensorrt", "10.3", "--check", "none")
    assert "written" in said or (run.path / "onnx" / "strong" / "lidar.onnx").is_file()
    said = command("eval", run.path, "--stage", "int")  # on integers: what was exported, in ONNX Runtime
    assert "samples, onnx" in said and "eval/mini_val-onnx-calibration/metrics.json" in said
    assert set(json.loads((run.path / "ledger.json").read_text())) == {"calibration", "calibration/onnx"}
    said = command("eval", run.path, "--stage", "int", "--backend", "torch", code=2)
    assert "found int with torch, which computes in floats; accepted: onnx, tensorrt" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--samples", 0), "samples: found 0; accepted: 1 to 100000"),
        (("--precision", "lidar"), "--precision: found 'lidar'; accepted: PATTERN=WORD"),
        (("--precision", "radar=int8"), "found 'radar', which no module or layer answers to"),
        (("--stage", "pruned"), "stage: found 'pruned'; accepted: float"),
        (("--stage", "int"), "stage: found 'int'; accepted: float"),
    ],
)
def test_what_cannot_be(run: Run, command: Callable[..., str], arguments: tuple[object, ...], said: str) -> None:
    assert said in command("quantize", run.path, *arguments, code=2)
    assert run.stages == ("float",)


def test_values_that_are_not_finite_are_named(run: Run, command: Callable[..., str]) -> None:
    variant, weights = run.variant(), run.weights()
    weights["lidar.backbone.stages.0.0.0.weight"][0] = 1e38
    from safetensors.torch import save

    run.save_stage("float", save(weights), variant, {"epoch": 1})
    said = command("quantize", run.path, "--samples", 2, "--method", "max", code=2)
    assert "found NaN or infinity at lidar.backbone" in said and run.stages == ("float",)


def test_training_that_goes_wrong_keeps_the_calibration(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BevliteError, match="stage: found 'calibration'; accepted: float"):
        bevlite.qat(run, evaluate=False, progress=False)
    bevlite.quantize(run, method="max", samples=2, evaluate=False)
    monkeypatch.setattr(qat_module, "WORSE", 0.0)
    with pytest.raises(BevliteError, match=r"the loss grew from .* the calibrated weights stay the last stage"):
        bevlite.qat(run, evaluate=False, progress=False)
    assert Run(run.path).stages == ("float", "calibration")
