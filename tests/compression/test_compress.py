"""A run is brought within a budget in one go; what was done is not done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import bevlite
from bevlite.cli.compress import share
from bevlite.compression import compress as chain
from bevlite.compression.measured_int8 import QuantizationSensitivity
from bevlite.compression.sensitivity_int8 import RoundingPlan, units_of
from bevlite.data.config import DataConfig
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.models.detector import Detector
from bevlite.models.quantization.placement import placement
from bevlite.models.quantization.plan import in_int8
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import WIDE, lidar_only, live, short_recipe

ANY: dict[str, Any] = {"max_drop": 1.0, "max_pruning_drop": 1.0, "max_quantization_drop": 1.0}
QUICK: dict[str, Any] = {"guide": "uniform", "method": "max", "calibration_samples": 2}


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    made, variant = Run(tmp_path / "run"), lidar_only(lidar=WIDE)
    made.create(variant, world, short_recipe(epochs=1), 0)
    torch.manual_seed(0)
    save_weights(made, live(Detector(variant)).state_dict(), variant, {"epoch": 1})
    return made


def budget(run: Run, share_of_whole: float) -> float:
    """Between the whole network in INT8 and the smallest that may be left of it, ms."""
    return share_of_whole * bevlite.latency(in_int8(run.variant("float"), {})).total_ms


def test_all_in_one_go_and_not_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    limit, said = budget(run, 0.99), list[str]()
    killed = monkeypatch.context()
    with killed as patch:  # a kill after the network was trained on
        patch.setattr(chain, "quantize_run", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            bevlite.compress(run, budget_ms=limit, **ANY, **QUICK, say=said.append)
    assert run.stages == ("float", "pruned", "finetuned") and "pruning" in said
    pruned = (run.checkpoints / "pruned.safetensors").stat().st_mtime_ns
    said.clear()
    made = bevlite.compress(run, budget_ms=limit, **ANY, **QUICK, say=said.append)
    assert "pruning" not in said and (run.checkpoints / "pruned.safetensors").stat().st_mtime_ns == pruned
    assert made.stopped == "" and run.stages == ("float", "pruned", "finetuned", "calibration")
    assert [line.name for line in made.lines] == ["float", "finetuned", "calibration", "calibration/onnx"]
    last = made.lines[-1]
    assert last.predicted_ms is not None and last.predicted_ms <= limit
    assert last.weight_mb < 0.5 * made.lines[0].weight_mb
    said.clear()
    again = bevlite.compress(run, budget_ms=limit, **ANY, **QUICK, say=said.append)
    assert again == made and "exporting" not in said and "training on" not in said
    with pytest.raises(BevliteError, match=r"compress\.json: budget_ms: found 1.0, begun with .* accepted: the same"):
        bevlite.compress(run, budget_ms=1.0, **ANY, **QUICK)
    (run.path / "compress.json").write_text("{")
    with pytest.raises(BevliteError, match="cannot be read; accepted: a file that `compress` wrote"):
        bevlite.compress(run, budget_ms=limit, **ANY, **QUICK)


def test_what_fits_starts_from_the_trained_weights(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of another chain are not what is quantized; other weights are another chain."""
    monkeypatch.setattr(chain, "evaluate_run", lambda path, *, stage, **_: Run(path).record(stage, {"NDS": 1.0}))
    monkeypatch.setattr(chain, "export_run", lambda *_, **__: None)
    bevlite.prune(run, ratios={"lidar": 0.5})
    limit = budget(run, 1.01)
    bevlite.compress(run, budget_ms=limit, **QUICK)
    assert run.stages == ("float", "calibration") and run.weights_meta("calibration")["from"] == "float"
    weights = {
        name: value + 1 if value.is_floating_point() else value for name, value in run.weights(stage="float").items()
    }
    save_weights(run, weights, run.variant("float"), {"epoch": 2})
    with pytest.raises(BevliteError, match=r"compress\.json: weights: found .*, begun with .* new start"):
        bevlite.compress(run, budget_ms=limit, **QUICK)


def test_a_stage_that_loses_too_much_ends_it(run: Run) -> None:
    """What fits is not pruned; a loss of quantization asks for training on, and one of that ends the chain."""
    lines = {"float": 1.0, "calibration": 0.5, "qat": 0.6}

    def scored(path: Path, *, stage: str, **_: Any) -> None:
        Run(path).record(stage, {"NDS": lines[stage], "stage": stage})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chain, "evaluate_run", scored)
        made = bevlite.compress(run, budget_ms=budget(run, 1.01), **QUICK, mixed="no")
    assert run.stages == ("float", "calibration", "qat") and "quantization lost 40.0%" in made.stopped
    assert not (run.path / "onnx").exists()
    assert set(json.loads((run.path / "compress.json").read_text())["done"]) == {"calibration"}


def test_what_int8_costs_most_goes_back_to_fp16(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained, and not a second time; the network stays within its budget."""
    lines = [{"NDS": 1.0}, {"NDS": 0.9}, {"NDS": 0.995}]
    measured: list[RoundingPlan] = []

    def scored(path: Path, *, stage: str, backend: str = "torch", **_: Any) -> None:
        if backend == "torch":
            Run(path).record(stage, lines.pop(0))

    def sensitivity(path: Path, plan: RoundingPlan, board: PredictedDevice, **_: Any) -> QuantizationSensitivity:
        measured.append(plan)
        variant = Run(path).variant("calibration")
        places = placement(variant)
        units = units_of(places, places.quantized(variant.compression.precision_of), plan.by)
        assert "lidar.backbone" in units and len(units) > 1

        def lost(loss: float) -> dict[str, Any]:
            return {"loss": loss, "lower": loss, "upper": loss, "error": 0.0, "halves": None}

        rows = [
            lost(0.1 if unit == "lidar.backbone" else 0.0)
            | {"unit": unit, "layers": layers, "first": lost(0.0), "last": lost(0.0), "first_ms": 1.0, "saved_ms": 1.0}
            for unit, layers in units.items()
        ]
        return QuantizationSensitivity.model_validate({
            "network_hash": variant.network_hash, "stage": "calibration", "figure": "NDS", "whole": 1.0, "split": "any",
            "samples": 1, "scenes": 1, "by": plan.by, "device": board.name, "tensorrt": board.tensorrt,
            "rank_correlation": None, "power_mode": board.power_mode, "whole_ms": 9.0, "int8": 0.9, "int8_ms": 5.0,
            "lost": lost(0.1), "units": rows,
        })  # fmt: skip

    monkeypatch.setattr(chain, "evaluate_run", scored)
    monkeypatch.setattr(chain, "export_run", lambda *_, **__: None)
    monkeypatch.setattr(chain, "quantize_sensitivity", sensitivity)
    limit = budget(run, 1.5)
    made = bevlite.compress(run, budget_ms=limit, **QUICK, say=print)
    assert made.stopped == "" and run.stages == ("float", "calibration") and lines == []
    variant = run.variant("calibration")
    left = placement(variant).quantized(variant.compression.precision_of)
    assert left and not [layer for layer in left if layer.startswith("lidar.backbone")]
    ms = made.lines[-1].predicted_ms
    assert ms is not None and budget(run, 1.0) != ms <= limit
    assert [plan.by for plan in measured] == ["part"] and measured[0].split == run.data().train_split
    assert bevlite.compress(run, budget_ms=limit, **QUICK) == made and len(measured) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget_ms": 0.0}, "budget: found 0 ms"),
        ({"guide": "luck"}, "guide: found 'luck'; accepted: measured, latency, macs, uniform"),
        ({"method": "luck"}, "method: found 'luck'"),
        ({"mixed": "luck"}, "mixed: found 'luck'; accepted: no, part, layer"),
        ({"max_drop": 2.0}, "drop: total: found 2; accepted: 0 to 1"),
        ({"calibration_samples": 0}, "samples: found 0"),
        ({"budget_ms": 0.01, "guide": "uniform"}, r"budget: found 0\.01 ms; accepted: .* or more"),
    ],
)
def test_what_cannot_be(run: Run, changes: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "evaluate_run", lambda path, *, stage: Run(path).record(stage, {"NDS": 1.0}))
    with pytest.raises(BevliteError, match=said):
        bevlite.compress(run, **{"budget_ms": 50.0, **changes})


def test_shares() -> None:
    assert share("3%") == share("0.03") == share(0.03) == pytest.approx(0.03)
    with pytest.raises(BevliteError, match=r"drop: found .much.; accepted: a share such as 3% or 0\.03"):
        share("much")
