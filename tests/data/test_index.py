"""The index against the official devkit, and its cache."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import view_points
from pyquaternion import Quaternion

from bevlite.data import index as index_module
from bevlite.data.classes import CAMERAS, DETECTION_CLASSES, detection_class
from bevlite.data.config import DataConfig, load_data_config
from bevlite.data.index import Index, load_index, open_nuscenes
from bevlite.data.lidar import accumulate_sweeps
from bevlite.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def nusc(world: DataConfig) -> Any:
    return open_nuscenes(world)


def keyframe(nusc: Any, token: str) -> tuple[dict, dict, dict]:
    data = nusc.get("sample_data", nusc.get("sample", token)["data"]["LIDAR_TOP"])
    sensor = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
    return data, nusc.get("ego_pose", data["ego_pose_token"]), sensor


def test_boxes_and_velocities_are_the_devkits(world: DataConfig, index: Index, nusc: Any) -> None:
    assert len(index) == 9 and len(index.boxes) > 100
    for row, token in enumerate(index.tokens):
        data, pose, _ = keyframe(nusc, token)
        start, stop = index.box_start[row : row + 2]
        boxes = nusc.get_boxes(data["token"])
        assert stop - start == len(boxes)
        for i, box in zip(range(start, stop), boxes, strict=True):
            velocity = nusc.box_velocity(box.token)
            box.translate(-np.array(pose["translation"]))
            box.rotate(Quaternion(pose["rotation"]).inverse)
            ours = index.boxes[i]
            np.testing.assert_allclose(ours[:3], box.center, atol=1e-9)
            np.testing.assert_allclose(ours[3:6], box.wlh[[1, 0, 2]])
            ahead = box.orientation.rotation_matrix[:2, 0]
            np.testing.assert_allclose([np.cos(ours[6]), np.sin(ours[6])], ahead / np.linalg.norm(ahead), atol=1e-9)
            expected = Quaternion(pose["rotation"]).inverse.rotate(velocity)[:2]
            np.testing.assert_allclose(ours[7:], expected, atol=1e-6)
            annotation = nusc.get("sample_annotation", box.token)
            assert index.box_points[i] == annotation["num_lidar_pts"]
            assert index.box_visibility[i] == int(annotation["visibility_token"])
            assert index.box_classes[i] == detection_class(annotation["category_name"])
    assert np.isfinite(index.boxes[:, 7:]).any()


def test_class_names() -> None:
    assert DETECTION_CLASSES[detection_class("vehicle.bus.rigid")] == "bus"
    assert DETECTION_CLASSES[detection_class("human.pedestrian.child")] == "pedestrian"
    assert detection_class("animal") == detection_class("vehicle.emergency.police") == -1


def test_sweeps_are_the_devkits_multisweep_in_the_ego_frame(world: DataConfig, index: Index, nusc: Any) -> None:
    for row in (1, 5, 8):
        token = str(index.tokens[row])
        _, _, sensor = keyframe(nusc, token)
        cloud, lag = LidarPointCloud.from_file_multisweep(
            nusc, nusc.get("sample", token), "LIDAR_TOP", "LIDAR_TOP", nsweeps=10, min_distance=1.0
        )
        cloud.rotate(Quaternion(sensor["rotation"]).rotation_matrix)
        cloud.translate(np.array(sensor["translation"]))
        start, stop = index.sweep_start[row : row + 2]
        assert stop - start > 1
        files = [Path(world.root) / f for f in index.sweep_files[start:stop]]
        points = accumulate_sweeps(files, index.sweep_to_bev[start:stop], index.sweep_lag_s[start:stop])
        assert points.shape == (cloud.points.shape[1], 5) and points.dtype == np.float32
        np.testing.assert_allclose(points[:, :3], cloud.points[:3].T, atol=2e-3)
        np.testing.assert_array_equal(points[:, 3], cloud.points[3])
        np.testing.assert_allclose(points[:, 4], lag[0], atol=1e-6)


def test_camera_matrices_project_as_the_devkit(index: Index, nusc: Any) -> None:
    row = 4
    sample = nusc.get("sample", str(index.tokens[row]))
    start, stop = index.box_start[row : row + 2]
    seen = 0
    for n, camera in enumerate(CAMERAS):
        file, boxes, intrinsics = nusc.get_sample_data(sample["data"][camera])
        assert file.endswith(str(index.camera_files[row, n]))
        np.testing.assert_array_equal(intrinsics, index.intrinsics[row, n])
        centres = {box.token: box.center for box in boxes}
        to_camera = np.linalg.inv(index.camera_to_bev[row, n])
        for token, ours in zip(sample["anns"], index.boxes[start:stop], strict=True):
            # At the camera's own time, as the devkit sees a box that stands still.
            if token in centres:
                centre = to_camera[:3, :3] @ ours[:3] + to_camera[:3, 3]
                np.testing.assert_allclose(centre, centres[token], atol=1e-6)
                pixel = view_points(centres[token][:, None], intrinsics, normalize=True)[:2, 0]
                mine = index.intrinsics[row, n] @ centre
                np.testing.assert_allclose(mine[:2] / mine[2], pixel, atol=1e-4)
                seen += 1
    assert seen > 10


def test_rows_of_splits(index: Index) -> None:
    train, val = index.rows_of_split("mini_train"), index.rows_of_split("mini_val")
    assert len(train) == 6 and len(val) == 3 and not set(train) & set(val)
    assert set(index.scenes[val]) == {"scene-0103"}
    assert all(np.diff(index.timestamps_us[rows]).all() for rows in (train, val))
    with pytest.raises(DataError, match="holds no scene of it"):
        index.rows_of_split("test")
    with pytest.raises(DataError, match=r"found 'mini'; accepted: .*mini_val"):
        index.rows_of_split("mini")


@pytest.fixture
def tables(world: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """The tables of the world alone, with a cache of their own."""
    shutil.copytree(Path(world.root) / str(world.version), tmp_path / "root" / str(world.version))
    shutil.copytree(Path(world.root) / "maps", tmp_path / "root" / "maps")
    monkeypatch.setenv("BEVLITE_CACHE", str(tmp_path / "cache"))
    return DataConfig(root=str(tmp_path / "root")).resolved()


def same(a: Index, b: Index) -> bool:
    pairs = [(getattr(a, f), getattr(b, f)) for f in Index.__dataclass_fields__]
    return all(
        x.dtype == y.dtype and np.array_equal(x, y, equal_nan=np.issubdtype(x.dtype, np.floating)) for x, y in pairs
    )


def test_cache_is_used_and_rebuilt(tables: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = index_module._build
    monkeypatch.setattr(index_module, "_build", lambda config: built.append(1) or build(config))
    first = load_index(tables)
    assert same(load_index(tables), first) and len(built) == 1
    (cache,) = (tmp_path / "cache" / "index").glob("*.npz")
    whole = cache.read_bytes()
    with np.load(cache, allow_pickle=False) as content:  # raises for an array that would need pickle
        assert set(content) == set(Index.__dataclass_fields__)
        assert all(content[name].dtype != object for name in content)
    assert b"\x80\x04\x95" not in whole[:1000]
    for damaged in (whole[: len(whole) // 2], b"", b"PK\x03\x04 rubbish", whole[:-30] + b"\0" * 30):
        cache.write_bytes(damaged)
        assert same(load_index(tables), first)
        assert cache.read_bytes() == whole
    assert len(built) == 5
    # Other tables are another index.
    file = Path(tables.root) / str(tables.version) / "sample_annotation.json"
    file.write_text(file.read_text() + "\n")
    load_index(tables)
    assert len(built) == 6 and len(list((tmp_path / "cache" / "index").glob("*.npz"))) == 2


@pytest.mark.parametrize(
    ("table", "content"), [("sample.json", "{"), ("ego_pose.json", "[]"), ("sample.json", "[]"), ("sensor.json", None)]
)
def test_unusable_tables_give_one_line(tables: DataConfig, table: str, content: str | None) -> None:
    file = Path(tables.root) / str(tables.version) / table
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(DataError) as error:
        load_index(tables)
    assert "\n" not in str(error.value) and tables.root in str(error.value)


def test_data_configuration(world: DataConfig, tmp_path: Path) -> None:
    assert (world.version, world.train_split, world.val_split) == ("v1.0-mini", "mini_train", "mini_val")
    file = tmp_path / "data.yaml"
    file.write_text(f"root: {world.root}\nval_split: mini_train\n")
    assert load_data_config(file).val_split == "mini_train"
    with pytest.raises(DataError, match="no such data root"):
        load_data_config(tmp_path / "absent")
    with pytest.raises(DataError, match=r"v1.0-trainval or v1.0-mini/sample.json is missing"):
        load_data_config(tmp_path)
    file.write_text(f"root: {world.root}\nversion: v2\n")
    with pytest.raises(ConfigError, match="version: found 'v2'"):
        load_data_config(file)
