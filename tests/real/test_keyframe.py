"""One real nuScenes frame (shared/nuscenes-keyframe beside the project) through the whole road."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bevlite.data.config import DataConfig
from bevlite.data.index import Index, load_index
from bevlite.data.lidar import accumulate_sweeps
from bevlite.evaluation.run import evaluate_run
from bevlite.export.run import export_run
from bevlite.metrics.detection import evaluate_submission, write_submission
from bevlite.runtime.decoding import Boxes
from bevlite.training.loop import train
from tests.tiny import short_recipe, tiny

ROOT = Path(__file__).resolve().parents[2].parent / "shared" / "nuscenes-keyframe"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason=f"the real keyframe is absent: {os.path.relpath(ROOT)}")


@pytest.fixture(scope="module")
def data() -> DataConfig:
    return DataConfig(root=str(ROOT)).resolved()


@pytest.fixture(scope="module")
def index(data: DataConfig) -> Index:
    return load_index(data)


def test_points_in_our_boxes_are_those_that_were_annotated(index: Index) -> None:
    assert len(index) == 1 and len(index.boxes) == 68 and len(index.sweep_files) == 1
    points = accumulate_sweeps([ROOT / str(index.sweep_files[0])], index.sweep_to_bev, index.sweep_lag_s)
    counts = []
    for box in index.boxes:
        offset = points[:, :3].astype(np.float64) - box[:3]
        cos, sin = np.cos(box[6]), np.sin(box[6])
        along, across = cos * offset[:, 0] + sin * offset[:, 1], -sin * offset[:, 0] + cos * offset[:, 1]
        hit = (np.abs(along) <= box[3] / 2) & (np.abs(across) <= box[4] / 2) & (np.abs(offset[:, 2]) <= box[5] / 2)
        counts.append(int(hit.sum()))
    # The ego frame is tilted by a fraction of a degree against the boxes: a point on a face may fall either way.
    gap = np.abs(np.array(counts) - index.box_points)
    assert (gap <= 1 + 0.1 * index.box_points).all() and gap.sum() <= 0.03 * index.box_points.sum()


def test_truth_fed_back_scores_the_ceiling(data: DataConfig, index: Index, tmp_path: Path) -> None:
    keep = index.box_classes >= 0
    boxes = Boxes(np.nan_to_num(index.boxes[keep]), np.ones(int(keep.sum())), index.box_classes[keep].astype(int))
    write_submission(tmp_path / "nusc_results.json", index, {0: boxes}, False, True)
    figures = evaluate_submission(data, "mini_train", tmp_path / "nusc_results.json")
    assert figures["mAP"] == pytest.approx(0.4943, abs=0.002)
    assert figures["mATE"] == pytest.approx(0.5, abs=0.002) and figures["mASE"] == pytest.approx(0.5, abs=0.002)
    assert figures["mAOE"] == pytest.approx(0.556, abs=0.002)


@pytest.mark.slow
def test_a_small_network_learns_the_frame_and_keeps_it_as_onnx(data: DataConfig, tmp_path: Path) -> None:
    variant = tiny(
        camera=None,
        bev={"x_range_m": [-51.2, 51.2], "cell_m": 0.8},
        lidar={
            "sweeps": 1,
            "pillars": {"cell_m": 0.4, "max_pillars": 12000, "max_points": 8, "channels": 16},
            "backbone": {"channels": [24], "layers": [1], "strides": [2]},
            "neck": {"channels": 24},
        },
        fusion={"channels": 32},
        bev_encoder={"channels": [32], "layers": [1], "out_channels": 32},
        heads={"detection": {"channels": 16, "separable": True}, "occupancy": None},
    )
    recipe = short_recipe(
        epochs=80, batch_size=1, warmup_steps=10, learning_rate=4e-3, save_every_s=600,
        augmentation={"image": None, "bev": None},
    )  # fmt: skip
    train(variant, data, recipe, tmp_path, progress=False)
    figures = evaluate_run(tmp_path, split="mini_train", workers=0)
    assert figures["mAP"] >= 0.3
    export_run(tmp_path, "8.6")
    exported = evaluate_run(tmp_path, split="mini_train", backend="onnx", workers=0)
    assert exported["mAP"] == pytest.approx(figures["mAP"], abs=0.002)
    assert exported["NDS"] == pytest.approx(figures["NDS"], abs=0.002)
