"""What the official devkit makes of a generated world."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.constants import DETECTION_NAMES
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box

from bevlite.data.classes import CATEGORIES
from bevlite.simulation.world.comparison import render
from bevlite.simulation.world.generate import WorldSummary
from bevlite.simulation.world.statistics import measure

TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)


def test_all_tables_and_files_are_there(small_world: WorldSummary, nusc: Any) -> None:
    for table in TABLES:
        assert (small_world.root / small_world.version / f"{table}.json").is_file()
    assert [scene["name"] for scene in nusc.scene] == ["scene-0061", "scene-0103"]
    for data in nusc.sample_data:
        assert (small_world.root / data["filename"]).is_file()
    for sample in nusc.sample:
        assert set(sample["data"]) == {
            "CAM_FRONT",
            "CAM_FRONT_RIGHT",
            "CAM_FRONT_LEFT",
            "CAM_BACK",
            "CAM_BACK_LEFT",
            "CAM_BACK_RIGHT",
            "LIDAR_TOP",
        }
    for record in nusc.map:
        assert record["mask"].mask().any()


def test_fields_are_those_of_nuscenes(nusc: Any) -> None:
    fields = {
        "sample_annotation": {
            "token",
            "sample_token",
            "instance_token",
            "visibility_token",
            "attribute_tokens",
            "translation",
            "size",
            "rotation",
            "prev",
            "next",
            "num_lidar_pts",
            "num_radar_pts",
            "category_name",  # the devkit adds it
        },
        "calibrated_sensor": {"token", "sensor_token", "translation", "rotation", "camera_intrinsic"},
        "ego_pose": {"token", "timestamp", "translation", "rotation"},
        "log": {"token", "logfile", "vehicle", "date_captured", "location", "map_token"},
    }
    for table, expected in fields.items():
        assert set(getattr(nusc, table)[0]) == expected
    for table in TABLES:
        tokens = [row["token"] for row in getattr(nusc, table)]
        assert len(tokens) == len(set(tokens))


def test_all_classes_in_every_split(nusc: Any) -> None:
    for scene in nusc.scene:
        names = set()
        sample = nusc.get("sample", scene["first_sample_token"])
        while True:
            for token in sample["anns"]:
                names.add(CATEGORIES[nusc.get("sample_annotation", token)["category_name"]])
            if not sample["next"]:
                break
            sample = nusc.get("sample", sample["next"])
        assert names == set(DETECTION_NAMES)


def test_num_lidar_pts_is_what_the_devkit_counts(nusc: Any) -> None:
    for sample in nusc.sample:
        path, boxes, _ = nusc.get_sample_data(sample["data"]["LIDAR_TOP"])
        cloud = LidarPointCloud.from_file(path)
        for box in boxes:
            annotation = nusc.get("sample_annotation", box.token)
            assert points_in_box(box, cloud.points[:3]).sum() == annotation["num_lidar_pts"]


def test_velocity_follows_the_chain(nusc: Any) -> None:
    moving = 0
    for annotation in nusc.sample_annotation:
        velocity = nusc.box_velocity(annotation["token"])
        if annotation["next"]:
            after = nusc.get("sample_annotation", annotation["next"])
            assert after["prev"] == annotation["token"]
            assert after["instance_token"] == annotation["instance_token"]
        names = [nusc.get("attribute", token)["name"] for token in annotation["attribute_tokens"]]
        if np.isnan(velocity).any() or not names:
            continue
        speed = np.linalg.norm(velocity[:2])
        assert speed < 20
        if "vehicle.parked" in names or "pedestrian.standing" in names:
            assert speed < 0.3
        moving += "vehicle.moving" in names and speed > 1.0
    assert moving > 0


def test_sweeps_are_chained_in_time(nusc: Any) -> None:
    for scene in nusc.scene:
        sample = nusc.get("sample", scene["first_sample_token"])
        data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
        assert data["prev"] == ""
        keys, times = [], []
        while True:
            keys.append(data["is_key_frame"])
            times.append(data["timestamp"])
            if not data["next"]:
                break
            after = nusc.get("sample_data", data["next"])
            assert after["prev"] == data["token"]
            data = after
        assert keys == [True, False, False, True, False, False, True]
        assert np.diff(times).min() >= 50_000 - 1
    cloud, _ = LidarPointCloud.from_file_multisweep(
        nusc, nusc.sample[2], "LIDAR_TOP", "LIDAR_TOP", nsweeps=10, min_distance=1.0
    )
    assert cloud.points.shape[1] > 60_000


def test_points_are_of_the_format(nusc: Any, small_world: WorldSummary) -> None:
    data = nusc.get("sample_data", nusc.sample[0]["data"]["LIDAR_TOP"])
    points = np.fromfile(small_world.root / data["filename"], dtype=np.float32).reshape(-1, 5)
    assert 20_000 < len(points) <= 32 * 1084
    assert set(np.unique(points[:, 4])) <= set(range(32))
    assert points[:, 3].min() >= 0 and points[:, 3].max() <= 255
    # The ground is a LiDAR's height below it, whatever the sensor's small tilt.
    near = points[np.hypot(points[:, 0], points[:, 1]) < 12]
    assert -2.3 < np.percentile(near[:, 2], 5) < -1.5


def test_ground_truth_scores_full_marks(nusc: Any, tmp_path: Path) -> None:
    results: dict[str, list[dict[str, Any]]] = {}
    for sample in nusc.sample:
        scene = nusc.get("scene", sample["scene_token"])["name"]
        if scene != "scene-0103":
            continue
        rows = results.setdefault(sample["token"], [])
        for token in sample["anns"]:
            annotation = nusc.get("sample_annotation", token)
            if not annotation["num_lidar_pts"]:
                continue  # the evaluation drops them from the truth, so a detection there would be false
            names = [nusc.get("attribute", t)["name"] for t in annotation["attribute_tokens"]]
            velocity = np.nan_to_num(nusc.box_velocity(token)[:2])
            rows.append(
                {
                    "sample_token": sample["token"],
                    "translation": annotation["translation"],
                    "size": annotation["size"],
                    "rotation": annotation["rotation"],
                    "velocity": velocity.tolist(),
                    "detection_name": CATEGORIES[annotation["category_name"]],
                    "detection_score": 0.9,
                    "attribute_name": names[0] if names else "",
                }
            )
    meta = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
    file = tmp_path / "results.json"
    file.write_text(json.dumps({"meta": meta, "results": results}))
    evaluation = DetectionEval(
        nusc,
        config_factory("detection_cvpr_2019"),
        str(file),
        "mini_val",
        str(tmp_path / "out"),
        verbose=False,
    )
    metrics, _ = evaluation.evaluate()
    present = {box.detection_name for box in evaluation.gt_boxes.all}
    for name in present:
        assert metrics.mean_dist_aps[name] == pytest.approx(1.0, abs=0.02)
    assert len(present) >= 7


def test_statistics_table(small_world: WorldSummary) -> None:
    table = render(measure(small_world.root))
    assert "| boxes a keyframe, ten classes" in table
    assert "trainval" in table and "paper" in table
