"""That cameras, LiDAR, boxes and occupancy describe the same scene."""

from __future__ import annotations

from typing import Any

import numpy as np
from nuscenes.utils.geometry_utils import BoxVisibility
from PIL import Image
from pyquaternion import Quaternion

from bevlite.simulation.world.constants import OCC_FREE, OCC_OF_CLASS, OCC_RANGE, OCC_VOXEL
from bevlite.simulation.world.generate import WorldSummary
from bevlite.simulation.world.geometry import quaternion, rotation_of
from bevlite.simulation.world.scene import SceneMaker


def test_devkit_boxes_meet_the_rendered_objects(maker: SceneMaker, nusc: Any) -> None:
    """The pixels of a free-standing object lie in the box that the devkit projects into that image."""
    spec, checked = maker.spec, 0
    for index in range(spec.samples):
        t = index * 0.5
        sample = nusc.get("sample", spec.token("sample", index))
        tokens = {spec.token("annotation", k, index): k for k in range(len(maker.stage.cast.agents))}
        x, y, _ = maker.ego(t).translation
        still = maker.stage.still(x, y, 160.0)
        shadow = (np.zeros((2, 2), np.float32), 0.0, 0.0)
        for camera in maker.rig.cameras:
            at = t - camera.lead_s
            picture = maker.pictures.take(camera, maker.ego(at), at, still, shadow, 0)
            owner = picture.owner
            _, boxes, intrinsic = nusc.get_sample_data(sample["data"][camera.channel], BoxVisibility.ALL)
            assert np.allclose(intrinsic, camera.intrinsic)
            for box in boxes:
                agent = tokens[box.token]
                rows, columns = np.nonzero(owner == agent)
                if len(rows) < 80 or picture.visible[agent] < 0.95 * picture.total[agent]:
                    continue
                corners = box.corners()
                pixels = intrinsic @ corners
                pixels = pixels[:2] / pixels[2]
                # Objects move between the times of camera and LiDAR, the annotation does not.
                slack = 2.0 + 0.06 * 12 * camera.intrinsic[0, 0] / box.center[2]
                assert columns.min() > pixels[0].min() - slack and columns.max() < pixels[0].max() + slack
                assert rows.min() > pixels[1].min() - slack and rows.max() < pixels[1].max() + slack
                width = pixels[0].max() - pixels[0].min()
                assert columns.max() - columns.min() > 0.5 * width - slack
                checked += 1
    assert checked >= 8


def test_the_stored_image_is_the_rendered_one(maker: SceneMaker, nusc: Any, small_world: WorldSummary) -> None:
    sample = nusc.get("sample", maker.spec.token("sample", 1))
    camera = maker.rig.cameras[0]
    x, y, _ = maker.ego(0.5).translation
    still = maker.stage.still(x, y, 160.0)
    shadow = maker.pictures.shadows(still, x, y)
    at = 0.5 - camera.lead_s
    picture = maker.pictures.take(camera, maker.ego(at), at, still, shadow, 6)
    data = nusc.get("sample_data", sample["data"]["CAM_FRONT"])
    stored = np.asarray(Image.open(small_world.root / data["filename"]), dtype=np.float64)
    assert stored.shape == (225, 400, 3)
    assert np.abs(stored - picture.image).mean() < 6.0
    assert picture.image.std() > 20


def test_lidar_points_of_an_object_lie_in_its_box(maker: SceneMaker) -> None:
    t = 0.5
    ego = maker.ego(t)
    x, y, _ = ego.translation
    from bevlite.simulation.world.stage import together

    triangles = together(maker.stage.moving(t), maker.stage.still(x, y, 120.0))
    points, owner = maker.lidar.sweep(triangles, ego, np.random.default_rng(0))
    xyz = (ego @ maker.rig.lidar).apply(points[:, :3].astype(np.float64))
    boxes = maker.boxes(t)
    of_agent = (owner >= 0) & (owner < len(boxes))
    assert of_agent.sum() > 300
    inside = 0
    for point, k in zip(xyz[of_agent], owner[of_agent], strict=True):
        box = boxes[k]
        d = point - box[:3]
        c, s = np.cos(box[6]), np.sin(box[6])
        local = np.array([c * d[0] + s * d[1], -s * d[0] + c * d[1], d[2]])
        inside += bool((np.abs(local) <= box[3:6] / 2 + 0.02).all())
    assert inside > 0.97 * of_agent.sum()
    assert np.abs(xyz[owner == -2][:, 2]).max() < 0.15


def test_objects_do_not_run_into_each_other(maker: SceneMaker) -> None:
    from bevlite.simulation.world.motion import collides

    agents = maker.stage.cast.agents
    tracks = np.stack([agent.track.sparse() for agent in agents])
    sizes = np.array([agent.size[:2] for agent in agents])
    for k in range(len(agents)):
        others = np.arange(len(agents)) != k
        assert not collides(tracks[k], *sizes[k], tracks[others], sizes[others, 0], sizes[others, 1], -0.05)


def test_occupancy_agrees_with_boxes(maker: SceneMaker, small_world: WorldSummary) -> None:
    low = np.array(OCC_RANGE[:3])
    agents = maker.stage.cast.agents
    seen: set[int] = set()
    for index in range(maker.spec.samples):
        sample = maker.spec.token("sample", index)
        labels = np.load(small_world.root / "gts" / "scene-0061" / sample / "labels.npz")
        for name in ("semantics", "mask_lidar", "mask_camera"):
            assert labels[name].shape == (200, 200, 16) and labels[name].dtype == np.uint8
        grid = labels["semantics"]
        seen |= set(np.unique(grid).tolist())
        ego, boxes = maker.ego(index * 0.5), maker.boxes(index * 0.5)
        for name, label in OCC_OF_CLASS.items():
            centres = ego.apply(low + (np.argwhere(grid == label) + 0.5) * OCC_VOXEL)
            inside = np.zeros(len(centres), dtype=bool)
            for agent, box in zip(agents, boxes, strict=True):
                if agent.name != name:
                    continue
                d = centres - box[:3]
                c, s = np.cos(box[6]), np.sin(box[6])
                local = np.stack([c * d[:, 0] + s * d[:, 1], -s * d[:, 0] + c * d[:, 1], d[:, 2]], 1)
                inside |= (np.abs(local) <= box[3:6] / 2 + OCC_VOXEL * 0.75).all(1)
            assert inside.all(), name
        # The car of the cameras is in the middle, and the road under it is driveable.
        assert grid[100, 100, 2] == 11
        assert 0.02 < (labels["mask_lidar"] > 0).mean() < 0.9
        assert 0.1 < (labels["mask_camera"] > 0).mean() < 0.95
    assert {4, 7, 11, 13, 15, 16, OCC_FREE} <= seen


def test_visible_surfaces_are_in_the_masks(nusc: Any, small_world: WorldSummary) -> None:
    """Voxels that hold a LiDAR return are marked as seen by the LiDAR, and mostly not free."""
    sample = nusc.sample[1]
    scene = nusc.get("scene", sample["scene_token"])["name"]
    labels = np.load(small_world.root / "gts" / scene / sample["token"] / "labels.npz")
    data = nusc.get("sample_data", sample["data"]["LIDAR_TOP"])
    calibration = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
    points = np.fromfile(small_world.root / data["filename"], dtype=np.float32).reshape(-1, 5)[:, :3]
    ego = points @ rotation_of(calibration["rotation"]).T + np.array(calibration["translation"])
    ego = ego[np.hypot(ego[:, 0], ego[:, 1]) > 4]
    index = np.floor((ego - np.array(OCC_RANGE[:3])) / OCC_VOXEL).astype(int)
    index = index[((index >= 0) & (index < np.array([200, 200, 16]))).all(1)]
    assert labels["mask_lidar"][tuple(index.T)].mean() > 0.999
    assert (labels["semantics"][tuple(index.T)] != OCC_FREE).mean() > 0.85


def test_calibration_differs_between_scenes(nusc: Any) -> None:
    rows = [c for c in nusc.calibrated_sensor if c["camera_intrinsic"]]
    assert len({tuple(row["translation"]) for row in rows}) == 12


def test_quaternions_round_trip() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        rotation = Quaternion.random().rotation_matrix if rng.random() < 0.5 else np.diag([-1.0, -1.0, 1.0])
        assert np.allclose(rotation_of(quaternion(rotation)), rotation, atol=1e-9)
