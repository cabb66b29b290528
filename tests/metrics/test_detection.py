"""Scores against the official devkit and against closed forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.common.data_classes import EvalBoxes
from nuscenes.eval.common.utils import center_distance
from nuscenes.eval.detection.algo import accumulate, calc_ap
from nuscenes.eval.detection.evaluate import DetectionEval

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.data.config import DataConfig
from bevlite.data.index import Index, open_nuscenes
from bevlite.errors import DataError
from bevlite.metrics.bootstrap import DetectionBootstrap, _average_precision, _curve, resample
from bevlite.metrics.detection import attribute_of, evaluate_submission, write_submission
from bevlite.runtime.decoding import Boxes


def truth_as_detections(index: Index, rows: np.ndarray) -> dict[int, Boxes]:
    found = {}
    for row in rows:
        own = slice(*index.box_start[row : row + 2])
        keep = (index.box_classes[own] >= 0) & (index.box_points[own] > 0)  # the devkit drops what no point hits
        boxes = index.boxes[own][keep]
        found[int(row)] = Boxes(boxes, np.linspace(0.9, 0.5, len(boxes)), index.box_classes[own][keep].astype(int))
    return found


def noisy(index: Index, rows: np.ndarray, seed: int) -> dict[int, Boxes]:
    """Truth moved, turned, scaled, partly lost, and as many boxes that are nowhere; many scores are equal."""
    rng = np.random.default_rng(seed)
    found = {}
    for row, truth in truth_as_detections(index, rows).items():
        keep = rng.random(len(truth.boxes)) < 0.8
        boxes, classes = truth.boxes[keep].copy(), truth.classes[keep]
        boxes[:, :2] += rng.normal(0, 0.7, boxes[:, :2].shape)
        boxes[:, 3:6] *= rng.uniform(0.8, 1.2, boxes[:, 3:6].shape)
        boxes[:, 6] += rng.normal(0, 0.5, len(boxes))
        boxes[:, 7:] += rng.normal(0, 1, boxes[:, 7:].shape)
        false = boxes[rng.permutation(len(boxes))[: len(boxes) // 2]].copy()
        false[:, :2] = rng.uniform(-40, 40, false[:, :2].shape)
        boxes = np.concatenate([boxes, false])
        classes = np.concatenate([classes, rng.integers(0, 10, len(false))])
        found[row] = Boxes(boxes, rng.integers(1, 60, len(boxes)) / 60, classes)
    return found


def devkit(data: DataConfig, split: str, file: Path) -> DetectionEval:
    config = config_factory("detection_cvpr_2019")
    return DetectionEval(open_nuscenes(data), config, str(file), split, str(file.parent), False)


@pytest.fixture(scope="module")
def submission(world: DataConfig, index: Index, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("noisy") / "nusc_results.json"
    write_submission(file, index, noisy(index, index.rows_of_split("mini_train"), 0), True, True)
    return file


@pytest.mark.parametrize("split", ["mini_train", "mini_val"])
def test_truth_fed_back_reaches_the_ceiling(world: DataConfig, index: Index, tmp_path: Path, split: str) -> None:
    file = tmp_path / "nusc_results.json"
    write_submission(file, index, truth_as_detections(index, index.rows_of_split(split)), False, True)
    figures = evaluate_submission(world, split, file)
    present = {box.detection_name for box in devkit(world, split, file).gt_boxes.all}
    assert 2 < len(present) <= 10
    # A class that is there scores 1 with no error; one that is not scores 0 with errors of 1.
    absent = [name for name in DETECTION_CLASSES if name not in present]
    assert figures["mAP"] == pytest.approx(len(present) / 10, abs=1e-9)
    assert figures["mATE"] == pytest.approx(len(absent) / 10, abs=1e-5)
    assert figures["mASE"] == pytest.approx(len(absent) / 10, abs=1e-5)
    turning = [name for name in absent if name != "traffic_cone"]
    moving = [name for name in turning if name != "barrier"]
    assert figures["mAOE"] == pytest.approx(len(turning) / 9, abs=1e-5)
    assert figures["mAVE"] == pytest.approx(len(moving) / 8, abs=1e-4)
    for name in present:
        assert figures["per_class"][name]["AP"] == pytest.approx(1, abs=1e-9)
    assert figures["per_class"]["traffic_cone"]["AOE"] is None and figures["per_class"]["barrier"]["AVE"] is None
    parts = [1 - min(1, figures[e]) for e in ("mATE", "mASE", "mAOE", "mAVE", "mAAE")]
    assert figures["NDS"] == pytest.approx((5 * figures["mAP"] + sum(parts)) / 10)


def test_submission_format(submission: Path, index: Index) -> None:
    content = json.loads(submission.read_text())
    assert set(content["results"]) == set(index.tokens[index.rows_of_split("mini_train")])
    assert content["meta"]["use_camera"] and content["meta"]["use_lidar"] and not content["meta"]["use_map"]
    for token, boxes in content["results"].items():
        assert all(box["sample_token"] == token and min(box["size"]) > 0 for box in boxes)


def test_no_more_than_500_boxes(world: DataConfig, index: Index, tmp_path: Path) -> None:
    rows = index.rows_of_split("mini_val")
    many = Boxes(np.tile([5.0, 0, 0, 1, 1, 1, 0, 0, 0], (700, 1)), np.linspace(1, 0.1, 700), np.zeros(700, int))
    write_submission(tmp_path / "nusc_results.json", index, {int(r): many for r in rows}, False, True)
    boxes = json.loads((tmp_path / "nusc_results.json").read_text())["results"]
    assert [len(v) for v in boxes.values()] == [500, 500, 500]
    assert min(b["detection_score"] for v in boxes.values() for b in v) > 0.35  # the best are kept
    assert evaluate_submission(world, "mini_val", tmp_path / "nusc_results.json")["mAP"] >= 0


def test_split_of_another_version_is_one_line(world: DataConfig, submission: Path) -> None:
    with pytest.raises(DataError, match="the official evaluation refuses split 'val'") as error:
        evaluate_submission(world, "val", submission)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "still", "moving"),
    [
        ("car", "vehicle.parked", "vehicle.moving"),
        ("truck", "vehicle.parked", "vehicle.moving"),
        ("trailer", "vehicle.parked", "vehicle.moving"),
        ("construction_vehicle", "vehicle.parked", "vehicle.moving"),
        ("bus", "vehicle.stopped", "vehicle.moving"),
        ("pedestrian", "pedestrian.standing", "pedestrian.moving"),
        ("bicycle", "cycle.without_rider", "cycle.with_rider"),
        ("motorcycle", "cycle.without_rider", "cycle.with_rider"),
        ("barrier", "", ""),
        ("traffic_cone", "", ""),
    ],
)
def test_attribute_rule(name: str, still: str, moving: str) -> None:
    assert (attribute_of(name, 0.1), attribute_of(name, 0.3)) == (still, moving)


def test_bootstrap_of_every_scene_once_is_the_official_score(world: DataConfig, submission: Path) -> None:
    official = evaluate_submission(world, "mini_train", submission)
    assert 0.1 < official["mAP"] < 0.9
    bootstrap = DetectionBootstrap(world, "mini_train", submission)
    assert bootstrap.scenes == ["scene-0061", "scene-0553"]
    figures = bootstrap.figures(np.ones(2, dtype=int))
    assert figures["NDS"] == pytest.approx(official["NDS"], abs=1e-9)
    assert figures["mAP"] == pytest.approx(official["mAP"], abs=1e-9)
    # Every scene twice: the curve has more steps, not another shape.
    twice = bootstrap.figures(np.full(2, 2))
    assert twice["mAP"] == pytest.approx(official["mAP"], abs=0.02)
    assert twice["NDS"] == pytest.approx(official["NDS"], abs=0.02)


@pytest.mark.parametrize("seed", range(2))
def test_bootstrap_of_one_scene_is_the_devkit_on_that_scene(
    world: DataConfig, index: Index, tmp_path: Path, seed: int
) -> None:
    file = tmp_path / "nusc_results.json"
    write_submission(file, index, noisy(index, index.rows_of_split("mini_train"), seed), True, True)
    bootstrap, evaluation = DetectionBootstrap(world, "mini_train", file), devkit(world, "mini_train", file)
    config: Any = evaluation.cfg
    scene_of = dict(zip(index.tokens, index.scenes, strict=True))
    for i, scene in enumerate(bootstrap.scenes):
        truth, predicted = EvalBoxes(), EvalBoxes()
        for part, whole in ((truth, evaluation.gt_boxes), (predicted, evaluation.pred_boxes)):
            for token in whole.sample_tokens:
                if scene_of[token] == scene:
                    part.add_boxes(token, whole[token])
        only = np.zeros(2, dtype=int)
        only[i] = 1
        for name in config.class_names:
            for threshold in config.dist_ths:
                data = accumulate(truth, predicted, name, center_distance, threshold)
                expected = calc_ap(data, config.min_recall, config.min_precision)
                curve = _curve(bootstrap.matches[name, threshold], only)
                ours = _average_precision(curve, config.min_recall, config.min_precision)
                assert ours == pytest.approx(expected, abs=1e-9)


def test_resampling() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    drawn = resample(lambda m: {"mean": float((m * values).sum() / m.sum())}, 4, draws=4000, seed=1)["mean"]
    assert len(drawn) == 4000 and drawn.mean() == pytest.approx(4.0, abs=0.1)
    assert drawn.std() == pytest.approx(values.std() / 2, rel=0.05)  # the standard error of a mean of four
    again = resample(lambda m: {"mean": float((m * values).sum() / m.sum())}, 4, draws=10, seed=1)["mean"]
    assert np.array_equal(again, drawn[:10])
