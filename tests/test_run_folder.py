"""A run keeps its weights by stage, each with the network that it belongs to and its own line in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bevlite.config import to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError
from bevlite.evaluation.run import evaluate_run, ledger_line
from bevlite.export.of_run import request_of_run
from bevlite.export.run import export_run
from bevlite.export.sources import open_network
from bevlite.models.detector import Detector
from bevlite.run_folder import STAGES, Run
from bevlite.training.checkpoints import save_weights
from bevlite.training.loop import train
from bevlite.variant import Variant
from tests.tiny import lidar_only, live, short_recipe

NARROW = {"lidar.backbone.stages.0.0.0": 4, "fusion_heads.fusion.reduce.0": 16}


def weights(variant: Variant, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = live(Detector(variant))
    with torch.no_grad():  # scores over the threshold: the official evaluation takes no submission without boxes
        for name, bias in network.named_parameters():
            if name.endswith("bias") and bool((bias < -2).all()):
                bias += 2
    return network.state_dict()


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    run, variant = Run(tmp_path / "run"), lidar_only()
    run.create(variant, world, short_recipe(), 0)
    save_weights(run, weights(variant), variant, {"epoch": 2})
    return run


def pruned(run: Run) -> Variant:
    variant = lidar_only(name="pruned", compression={"widths": NARROW})
    save_weights(run, weights(variant, 1), variant, {"ratio": 0.5}, "pruned")
    return variant


def test_stages_stand_beside_each_other(run: Run) -> None:
    assert (
        run.stages == ("float",)
        and run.stage == "float"
        and STAGES == ("float", "pruned", "finetuned", "calibration", "qat")
    )
    narrow = pruned(run)
    assert run.stages == ("float", "pruned") and run.stage == "pruned"
    assert run.variant() == narrow and run.variant("float").name == "tiny-lidar"
    assert run.weights_meta()["network_hash"] == narrow.network_hash != run.weights_meta("float")["network_hash"]
    assert run.weights(narrow)["lidar.backbone.stages.0.0.0.weight"].shape[0] == 4
    assert run.weights(lidar_only(), "float")["lidar.backbone.stages.0.0.0.weight"].shape[0] == 8
    with pytest.raises(BevliteError, match="a checkpoint of another network"):
        run.weights(lidar_only())
    assert {f.name for f in run.checkpoints.iterdir()} == {
        "float.safetensors", "float.json", "pruned.safetensors", "pruned.json", "pruned.yaml",
    }  # fmt: skip


def test_each_stage_is_scored_and_exported_by_itself(run: Run) -> None:
    pruned(run)
    whole = evaluate_run(run.path, stage="float", workers=0)
    narrow = evaluate_run(run.path, workers=0)
    export_run(run.path, "8.6", samples=1)
    exported = evaluate_run(run.path, backend="onnx", workers=0)
    ledger = json.loads((run.path / "ledger.json").read_text())
    assert set(ledger) == {"float", "pruned", "pruned/onnx"}
    assert ledger["float"]["NDS"] == whole["NDS"] and ledger["pruned"]["NDS"] == narrow["NDS"] != whole["NDS"]
    assert exported["NDS"] == pytest.approx(narrow["NDS"], abs=5e-3)
    folders = {folder.name for folder in (run.path / "eval").iterdir()}
    assert folders == {"mini_val-torch", "mini_val-torch-pruned", "mini_val-onnx-pruned"}
    with pytest.raises(BevliteError, match="stage: found float; accepted: pruned with onnx, the last one"):
        evaluate_run(run.path, stage="float", backend="onnx", workers=0)
    with pytest.raises(BevliteError, match=r"stage: found 'qat'; accepted: float, pruned"):
        export_run(run.path, stage="qat")


def test_lines_of_the_ledger() -> None:
    board = {"backend": "tensorrt", "device": "desk", "emulated": False}
    assert ledger_line({"backend": "torch"}) == "float" and ledger_line({"backend": "onnx"}) == "onnx"
    assert ledger_line({"backend": "torch", "stage": "qat"}) == "qat"
    assert ledger_line(board) == "tensorrt/desk"
    assert ledger_line(board | {"emulated": True, "stage": "calibration"}) == "calibration/emulated/desk"


def test_another_precision_goes_on_with_the_same_run(world: DataConfig, tmp_path: Path) -> None:
    path, recipe = tmp_path / "run", short_recipe(epochs=2)
    train(lidar_only(), world, recipe, path, stop_after_epoch=1, progress=False)
    half = lidar_only(compression={"precision": "fp32"})
    run = train(half, world, recipe, path, resume=True, progress=False)
    assert run.weights_meta()["epoch"] == 2 and run.variant().precision == "fp32"
    assert run.weights(lidar_only()).keys() == run.weights(half).keys()


def test_runs_of_earlier_versions_are_read(run: Run) -> None:
    """`model.safetensors`, whose JSON does not say the network."""
    before = run.weights()
    for suffix in ("safetensors", "json"):
        (run.checkpoints / f"float.{suffix}").unlink()
    save_file(before, run.checkpoints / "model.safetensors")
    (run.checkpoints / "model.json").write_text('{"variant_hash": "0123456789ab", "epoch": 7, "step": 9}')
    assert run.stages == ("float",) and run.weights_meta()["epoch"] == 7
    assert torch.equal(run.weights(lidar_only())["lidar.pillars.conv.weight"], before["lidar.pillars.conv.weight"])
    save_weights(run, before, lidar_only(), {"epoch": 8})
    assert {f.name for f in run.checkpoints.iterdir()} == {"float.safetensors", "float.json"}


def test_float_training_goes_on_beside_a_pruned_stage(world: DataConfig, tmp_path: Path) -> None:
    """`--resume` and `--init` are of the float weights, whatever was made of them since."""
    recipe, out = short_recipe(epochs=2), tmp_path / "run"
    run = train(lidar_only(), world, recipe, out, stop_after_epoch=1, progress=False)
    pruned(run)
    train(lidar_only(), world, recipe, out, resume=True, progress=False)
    assert run.weights_meta("float")["epoch"] == 2
    again = train(lidar_only(), world, short_recipe(epochs=1), tmp_path / "b", init={"lidar": out}, progress=False)
    assert again.stage == "float"


def test_an_export_of_other_weights_or_another_plan_is_not_taken(run: Run) -> None:
    export_run(run.path, samples=1)
    assert request_of_run(run, "10.3").form.emission == "strong"
    mixed = lidar_only(compression={"precision": {"lidar": "fp32"}})
    write_atomic(run.path / "variant.yaml", to_yaml(mixed))
    refused = "no exported modules of its last weights and precision plan for TensorRT 10.3"
    with pytest.raises(BevliteError, match=refused):
        request_of_run(run, "10.3")
    assert request_of_run(run, "8.6").form.emission == "weak"  # its graph holds no precision
    export_run(run.path, "10.3", samples=1)
    assert request_of_run(run, "10.3").precision == {"lidar": "fp32", "fusion_heads": "fp16"}
    assert request_of_run(run, "8.6").form.emission == "weak"
    with pytest.raises(BevliteError, match=refused):
        request_of_run(run, "10.3", "fp16")
    narrow = pruned(run)
    export_run(run.path, stage="float", samples=1)
    with pytest.raises(BevliteError, match=refused):
        request_of_run(run, "10.3")
    with pytest.raises(BevliteError, match="holds no exported modules"):
        evaluate_run(run.path, backend="onnx", workers=0)
    assert (
        open_network(run.path, "10.3", "", ["name=other"], {}).modules["lidar"]
        == (open_network(narrow, "10.3", "", [], {}).modules["lidar"])
    )
    save_weights(run, weights(narrow, 2), narrow, {"ratio": 0.5}, "pruned")
    export_run(run.path, samples=1)
    save_weights(run, weights(narrow, 3), narrow, {"ratio": 0.5}, "pruned")
    with pytest.raises(BevliteError, match=refused):
        request_of_run(run, "10.3")
