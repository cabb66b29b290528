"""The rows that one scene adds to the tables of nuScenes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from bevlite.data.classes import LIDAR
from bevlite.simulation.world.agents import Agent
from bevlite.simulation.world.geometry import Array, Pose, quaternion, rot_z
from bevlite.simulation.world.rig import Rig
from bevlite.simulation.world.seeding import token
from bevlite.simulation.world.spec import SceneSpec

Row = dict[str, Any]


def visibility_token(visible: int, total: int) -> str:
    """nuScenes' visibility level "1".."4" of the share of an object's pixels that can be seen."""
    share = visible / total if total else 0.0
    return "1" if share < 0.4 else "2" if share < 0.6 else "3" if share < 0.8 else "4"


def attribute(agent: Agent, speed: float) -> str | None:
    """The nuScenes attribute of an agent at this speed (m/s), or None where its class has none."""
    if agent.name == "pedestrian":
        return "pedestrian.moving" if speed > 0.2 else "pedestrian.standing"
    if agent.name in ("bicycle", "motorcycle"):
        return "cycle.with_rider" if agent.rider else "cycle.without_rider"
    if agent.name in ("traffic_cone", "barrier"):
        return None
    if speed > 0.2:
        return "vehicle.moving"
    return "vehicle.parked" if agent.parked else "vehicle.stopped"


def _chained(rows: Sequence[Row], key: str) -> dict[str, list[Row]]:
    """Link the rows that share a value of `key` to each other, in order; returns them by that value."""
    chains: dict[str, list[Row]] = {}
    for row in rows:
        chains.setdefault(row[key], []).append(row)
    for chain in chains.values():
        for before, after in itertools.pairwise(chain):
            before["next"], after["prev"] = after["token"], before["token"]
    return chains


class SceneRows:
    """Collects rows by table, frame after frame."""

    def __init__(self, spec: SceneSpec, agents: Sequence[Agent]) -> None:
        self.spec, self.agents = spec, agents
        self.tables: dict[str, list[Row]] = {
            "ego_pose": [],
            "sample_data": [],
            "sample": [],
            "sample_annotation": [],
        }

    def add_sample(self, index: int, t: float) -> str:
        """A keyframe at `t` (s); returns its token."""
        spec = self.spec
        sample = spec.token("sample", index)
        self.tables["sample"].append(
            {
                "token": sample,
                "timestamp": spec.us(t),
                "prev": spec.token("sample", index - 1) if index else "",
                "next": spec.token("sample", index + 1) if index + 1 < spec.samples else "",
                "scene_token": spec.token("scene"),
            }
        )
        return sample

    def add_data(
        self, channel: str, t: float, pose: Pose, sample: str, key: bool, name: str, size: tuple[int, int]
    ) -> None:
        """A file of a sensor: of the sample it belongs to, taken at `t` (s) with the car at `pose`."""
        us = self.spec.us(t)
        mark = self.spec.token("data", channel, us)
        self.tables["ego_pose"].append(
            {
                "token": mark,
                "timestamp": us,
                "rotation": quaternion(pose.rotation),
                "translation": [float(v) for v in pose.translation],
            }
        )
        self.tables["sample_data"].append(
            {
                "token": mark,
                "sample_token": sample,
                "ego_pose_token": mark,
                "calibrated_sensor_token": self.spec.token("calibration", channel),
                "timestamp": us,
                "fileformat": "pcd" if channel == LIDAR else "jpg",
                "is_key_frame": key,
                "height": size[1],
                "width": size[0],
                "filename": name,
                "prev": "",
                "next": "",
            }
        )

    def add_annotation(
        self, k: int, index: int, sample: str, box: Array, speed: float, visibility: str, points: int
    ) -> None:
        """The box (7) of agent `k` in keyframe `index`: x, y, z centre (m, global), l, w, h, yaw; speed in m/s."""
        agent = self.agents[k]
        name = attribute(agent, speed)
        length, width, height = agent.size
        self.tables["sample_annotation"].append(
            {
                "token": self.spec.token("annotation", k, index),
                "sample_token": sample,
                "instance_token": self.spec.token("instance", k),
                "visibility_token": visibility,
                "attribute_tokens": [token("attribute", name)] if name else [],
                "translation": [float(v) for v in box[:3]],
                "size": [width, length, height],
                "rotation": quaternion(rot_z(float(box[6]))),
                "prev": "",
                "next": "",
                "num_lidar_pts": points,
                "num_radar_pts": 0,
            }
        )

    def _instances(self) -> list[Row]:
        """Link each object's annotations, and list the objects that have any."""
        chains = _chained(self.tables["sample_annotation"], "instance_token")
        instances = []
        for k, agent in enumerate(self.agents):
            chain = chains.get(self.spec.token("instance", k), [])
            if chain:
                instances.append(
                    {
                        "token": self.spec.token("instance", k),
                        "category_token": token("category", agent.category),
                        "nbr_annotations": len(chain),
                        "first_annotation_token": chain[0]["token"],
                        "last_annotation_token": chain[-1]["token"],
                    }
                )
        return instances

    def _calibration(self, rig: Rig) -> list[Row]:
        sensors: list[tuple[str, Pose, list[list[float]]]] = [
            (c.channel, c.pose, [[float(v) for v in row] for row in c.intrinsic]) for c in rig.cameras
        ]
        sensors.append((LIDAR, rig.lidar, []))
        return [
            {
                "token": self.spec.token("calibration", channel),
                "sensor_token": token("sensor", channel),
                "translation": [float(v) for v in pose.translation],
                "rotation": quaternion(pose.rotation),
                "camera_intrinsic": intrinsic,
            }
            for channel, pose, intrinsic in sensors
        ]

    def finished(self, rig: Rig, weather: str, map_file: str) -> dict[str, list[Row]]:
        """All rows of the scene, those of one sensor or object linked into chains."""
        spec = self.spec
        _chained(self.tables["sample_data"], "calibrated_sensor_token")
        names = sorted({agent.name for agent in self.agents})
        rows = dict(self.tables)
        rows["instance"] = self._instances()
        rows["calibrated_sensor"] = self._calibration(rig)
        rows["map"] = [
            {
                "category": "semantic_prior",
                "token": spec.token("map"),
                "filename": map_file,
                "log_tokens": [spec.token("log")],
            }
        ]
        rows["log"] = [
            {
                "token": spec.token("log"),
                "logfile": spec.logfile,
                "vehicle": spec.logfile.split("-")[0],
                "date_captured": "2018-07-24",
                "location": spec.location,
            }
        ]
        rows["scene"] = [
            {
                "token": spec.token("scene"),
                "log_token": spec.token("log"),
                "nbr_samples": spec.samples,
                "first_sample_token": spec.token("sample", 0),
                "last_sample_token": spec.token("sample", spec.samples - 1),
                "name": spec.name,
                "description": f"generated, {weather}, with {', '.join(names)}",
            }
        ]
        return rows
