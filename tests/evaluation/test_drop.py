"""What a missing sensor costs: scored by itself, and never taken for the plain score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bevlite.data.config import DataConfig
from bevlite.data.index import Index
from bevlite.errors import BevliteError
from bevlite.evaluation.run import accuracy_table, evaluate_run, evaluation_folder, ledger_line
from bevlite.export.run import export_run
from bevlite.inference.torch import TorchNetwork
from bevlite.models.samples import dataset_of, droppable
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.test_run_folder import weights
from tests.tiny import lidar_only, short_recipe, tiny

VARIANT = tiny(camera={"images": {"height": 32, "width": 96}}, heads={"occupancy": None})


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.create(VARIANT, world, short_recipe(), 0)
    save_weights(run, weights(VARIANT), VARIANT, {"epoch": 2})
    return run


@pytest.mark.parametrize("missing", ["camera", "lidar", "CAM_FRONT", "CAM_BACK_RIGHT"])
def test_the_network_sees_nothing_there_and_the_rest_stays(missing: str, world: DataConfig, index: Index) -> None:
    variant = tiny(camera={"images": {"height": 32, "width": 96}})
    whole = dataset_of(variant, world.root, index, np.arange(1))[0]
    less = dataset_of(variant, world.root, index, np.arange(1), missing=missing)[0]
    dark = {"camera": range(6), "lidar": (), "CAM_FRONT": (0,), "CAM_BACK_RIGHT": (5,)}[missing]
    assert whole.keys() == less.keys() and whole["images"].any() and whole["pillar_index"].any()
    for n in range(6):
        assert np.array_equal(less["images"][n], whole["images"][n] * (n not in dark))
    assert less["pillar_index"].any() == (missing != "lidar") == bool(less["pillars"].size)
    for name in set(whole) - {"images", "pillars", "pillar_index"}:  # calibration and truth
        np.testing.assert_array_equal(less[name], whole[name], name)


def test_each_score_has_a_name_of_its_own(run: Run) -> None:
    plain = evaluate_run(run.path, workers=0)
    before = (run.path / "eval" / "mini_val-torch" / "metrics.json").read_text()
    found = {drop: evaluate_run(run.path, workers=0, drop=drop) for drop in ("camera", "lidar", "CAM_FRONT")}
    ledger = json.loads((run.path / "ledger.json").read_text())
    assert set(ledger) == {"float", "float/without camera", "float/without lidar", "float/without CAM_FRONT"}
    assert "without" not in plain and ledger["float"]["NDS"] == plain["NDS"]
    assert (run.path / "eval" / "mini_val-torch" / "metrics.json").read_text() == before
    for drop, figures in found.items():
        folder = evaluation_folder(run.path, "mini_val", "torch", without=drop)
        assert folder.name == f"mini_val-torch-without-{drop}" and figures["without"] == drop
        assert json.loads((folder / "metrics.json").read_text())["NDS"] == figures["NDS"]
        assert accuracy_table(figures).startswith(f"mini_val: 3 samples, torch, without {drop}\n")
        assert (folder / "nusc_results.json").read_text() != (
            run.path / "eval" / "mini_val-torch" / "nusc_results.json"
        ).read_text()


def test_figures_are_those_of_the_network_without_it(run: Run, world: DataConfig, index: Index) -> None:
    """The maps of a batch whose LiDAR input was emptied by hand."""
    network, rows = TorchNetwork(run), np.arange(2)
    dataset = dataset_of(VARIANT, world.root, index, rows)
    batch = dataset.collate([dataset[0], dataset[1]])
    by_hand = batch | {name: torch.zeros_like(batch[name]) for name in ("pillars", "pillar_index")}
    blind = dataset_of(VARIANT, world.root, index, rows, missing="lidar")
    found = network(blind.collate([blind[0], blind[1]]))
    for name, value in network(by_hand).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)


def test_names() -> None:
    board = {"backend": "tensorrt", "device": "desk", "emulated": True, "stage": "qat", "without": "lidar"}
    assert ledger_line(board) == "qat/emulated/desk/without lidar"
    assert ledger_line({"backend": "onnx", "without": "CAM_BACK"}) == "onnx/without CAM_BACK"


def test_what_cannot_be_missing_is_refused(run: Run) -> None:
    with pytest.raises(BevliteError, match=r"--drop: found 'CAM_TOP'; accepted: camera, lidar, CAM_FRONT, CAM_FRONT_R"):
        evaluate_run(run.path, workers=0, drop="CAM_TOP")
    assert not (run.path / "eval").exists()
    assert droppable(lidar_only()) == ()
    assert droppable(tiny(lidar=None))[:2] == ("CAM_FRONT", "CAM_FRONT_RIGHT")
    assert droppable(tiny(lidar=None, camera={"images": {"cameras": 1}})) == ()
    assert droppable(tiny(camera={"images": {"cameras": 1}})) == ("camera", "lidar", "CAM_FRONT")


def test_exported_modules_lose_the_same_sensor(run: Run) -> None:
    export_run(run.path, "8.6", samples=1, check="none")
    found = evaluate_run(run.path, backend="onnx", workers=0, drop="lidar")
    assert found["NDS"] == pytest.approx(evaluate_run(run.path, workers=0, drop="lidar")["NDS"], abs=5e-3)
    assert set(json.loads((run.path / "ledger.json").read_text())) == {"onnx/without lidar", "float/without lidar"}
