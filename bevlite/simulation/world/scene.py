"""One scene from its seed to its files, with the rows that it adds to the tables."""

from __future__ import annotations

import io
import itertools
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from bevlite.data.classes import LIDAR
from bevlite.simulation.world.agents import Agent, make_cast, plan_ego
from bevlite.simulation.world.constants import (
    ANNOTATION_RANGE,
    BOX_BOTTOM,
    CAMERA_SIGMA,
    EGO_TILT_DEG,
    IMAGE_SIZE,
    KEYFRAME_PERIOD,
    MIN_VISIBLE_PIXELS,
    OCC_OF_CLASS,
    RENDER_RANGE,
    SWEEP_PERIOD,
    WORLD_VERSION,
)
from bevlite.simulation.world.geometry import Array, Pose, quaternion, rot_x, rot_y, rot_z
from bevlite.simulation.world.layout import make_layout
from bevlite.simulation.world.lidar import Lidar, points_in_boxes
from bevlite.simulation.world.mesh import F32
from bevlite.simulation.world.occupancy import View, occupancy_labels
from bevlite.simulation.world.raster import cast_shadows, rasterise
from bevlite.simulation.world.rig import Camera, Rig, make_rig
from bevlite.simulation.world.seeding import generator, token
from bevlite.simulation.world.shading import shade
from bevlite.simulation.world.stage import Stage, Triangles, together
from bevlite.simulation.world.weather import Weather, make_weather, weather_name

Row = dict[str, Any]
_SHADOW_RESOLUTION = 0.2
_SHADOW_REACH = 90.0


@dataclass(frozen=True)
class SceneSpec:
    """What defines a scene completely: the same spec gives the same bytes."""

    name: str
    index: int
    seed: int
    samples: int
    sweeps: int
    image_scale: float
    jpeg_quality: int

    @property
    def logfile(self) -> str:
        """The name of the scene's log, which its file names begin with."""
        return f"w{WORLD_VERSION:03d}-{self.seed:04d}-{self.name}"

    def token(self, *parts: object) -> str:
        """A token of this scene: it names the world's parameters, so two worlds never share one."""
        return token(*asdict(self).values(), WORLD_VERSION, *parts)

    @property
    def start_us(self) -> int:
        """Timestamp of the first keyframe in microseconds: invented, but never twice the same."""
        return 1_532_402_927_000_000 + self.index * 100_000_000


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file or none: to a name beside it, then rename.

    Without a sync to disk, unlike `config.write_atomic`: a scene counts as finished only by its record, which
    is synced, and thousands of syncs would cost more than the rendering.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # a full disk does not say which file it was
        raise


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


@dataclass(frozen=True)
class Picture:
    """A rendered camera image and what is known of it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        inverse_depth: (H, W) 1/m along the optical axis, 0 for the sky.
        triangle: (H, W) index of the triangle seen, -1 for ground and sky.
        triangle_owner: (triangles,) the owner of each triangle; agents come first.
        visible: (agents,) pixels of each agent that are seen.
        total: (agents,) pixels that would be seen with nothing before the agent.
    """

    image: npt.NDArray[np.uint8]
    inverse_depth: F32
    triangle: npt.NDArray[np.int32]
    triangle_owner: npt.NDArray[np.int32]
    visible: npt.NDArray[np.int64]
    total: npt.NDArray[np.int64]

    @property
    def owner(self) -> npt.NDArray[np.int32]:
        """Owner of each pixel (H, W), -1 for ground and sky."""
        return np.where(self.triangle >= 0, self.triangle_owner[np.maximum(self.triangle, 0)], -1).astype(np.int32)


class SceneMaker:
    """Holds what is common to all frames of a scene, and makes its files under `root`."""

    def __init__(self, spec: SceneSpec, root: Path) -> None:
        self.spec, self.root = spec, root
        duration = (spec.samples - 1) * KEYFRAME_PERIOD

        def rng(part: str) -> np.random.Generator:
            return generator(WORLD_VERSION, spec.seed, spec.name, part)

        plan = plan_ego(rng("ego"), duration)
        layout = make_layout(rng("layout"), float(plan.travelled[-1]))
        cast = make_cast(rng("cast"), layout, plan)
        self.stage = Stage(layout, cast, rng("stage"))
        self.rig: Rig = make_rig(rng("rig"), spec.image_scale)
        self.weather: Weather = make_weather(rng("weather"), weather_name(spec.index, spec.seed))
        self.lidar = Lidar(self.rig.lidar, layout.ground)
        self._tilt = rng("tilt").uniform(0, 2 * np.pi, 2)
        self.rows: dict[str, list[Row]] = {
            "ego_pose": [],
            "sample_data": [],
            "sample": [],
            "sample_annotation": [],
        }

    # --- poses --------------------------------------------------------------------------------------------

    def ego(self, t: float) -> Pose:
        """The ego pose in the global frame at `t` (s); it pitches and rolls a little."""
        x, y, yaw = self.stage.ego(t)
        pitch = np.radians(EGO_TILT_DEG) * np.sin(2 * np.pi * 0.7 * t + self._tilt[0])
        roll = np.radians(EGO_TILT_DEG) * np.sin(2 * np.pi * 0.5 * t + self._tilt[1])
        return Pose(rot_z(yaw) @ rot_y(pitch) @ rot_x(roll), np.array([x, y, 0.0]))

    def boxes(self, t: float) -> Array:
        """Boxes (n, 7) of all agents at `t`: x, y, z centre (m, global), l, w, h, yaw."""
        poses = self.stage.agent_poses(t)
        size = np.array([agent.size for agent in self.stage.cast.agents])
        z = size[:, 2:3] / 2 + BOX_BOTTOM
        return np.concatenate([poses[:, :2], z, size, poses[:, 2:3]], 1)

    def _us(self, t: float) -> int:
        return self.spec.start_us + round(t * 1e6)

    # --- sensors ------------------------------------------------------------------------------------------

    def _shadows(self, triangles: Triangles, x: float, y: float) -> tuple[F32, float, float]:
        size = int(2 * _SHADOW_REACH / _SHADOW_RESOLUTION)
        shadow = np.zeros((size, size), dtype=np.float32)
        x_low, y_low = x - _SHADOW_REACH, y - _SHADOW_REACH
        cast_shadows(triangles.corners, self.weather.sun.astype(np.float64), x_low, y_low, _SHADOW_RESOLUTION, shadow)
        return shadow, x_low, y_low

    def picture(
        self, camera: Camera, t: float, still: Triangles, shadow: tuple[F32, float, float], seed: int
    ) -> Picture:
        """Render a camera at `t` (s), with what stands `still` and the agents where they are then."""
        ego = self.ego(t)
        pose = ego @ camera.pose
        triangles = together(self.stage.moving(t), still)
        # What is wholly behind the camera costs nothing.
        forward = pose.rotation[:, 2].astype(np.float32)
        along = (triangles.corners - pose.translation.astype(np.float32)) @ forward
        triangles = triangles.subset((along > 0.1).any(1))
        owners = self.stage.owners(t)
        h, w = camera.height, camera.width
        inverse_depth = np.zeros((h, w), dtype=np.float32)
        index = np.full((h, w), -1, dtype=np.int32)
        stamp = np.full((h, w), -1, dtype=np.int32)
        total, visible = np.zeros(owners.agents, np.int64), np.zeros(owners.agents, np.int64)
        k = camera.intrinsic
        inverse = np.ascontiguousarray(pose.rotation.T)
        rasterise(
            triangles.corners, triangles.owner, inverse, pose.translation, k[0, 0], k[1, 1], k[0, 2], k[1, 2],
            inverse_depth, index, stamp, total, owners.agents,
        )  # fmt: skip
        image = np.empty((h, w, 3), dtype=np.uint8)
        shade(
            index, inverse_depth, triangles.owner, triangles.material, triangles.colour, triangles.normal,
            owners.pose, pose.rotation, pose.translation, k[0, 0], k[1, 1], k[0, 2], k[1, 2],
            self.stage.layout.ground, self.weather.numbers, *shadow, _SHADOW_RESOLUTION,
            np.array(self.stage.ego(t)), CAMERA_SIGMA, seed, image, visible, owners.agents,
        )  # fmt: skip
        return Picture(image, inverse_depth, index, triangles.owner, visible, total)

    # --- rows ---------------------------------------------------------------------------------------------

    def _add_data(
        self, channel: str, t: float, pose: Pose, sample: str, key: bool, name: str, size: tuple[int, int]
    ) -> None:
        us = self._us(t)
        mark = self.spec.token("data", channel, us)
        self.rows["ego_pose"].append(
            {
                "token": mark,
                "timestamp": us,
                "rotation": quaternion(pose.rotation),
                "translation": [float(v) for v in pose.translation],
            }
        )
        self.rows["sample_data"].append(
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

    def _file(self, channel: str, t: float, key: bool) -> str:
        ending = "pcd.bin" if channel == LIDAR else "jpg"
        folder = "samples" if key else "sweeps"
        return f"{folder}/{channel}/{self.spec.logfile}__{channel}__{self._us(t)}.{ending}"

    # --- the scene ----------------------------------------------------------------------------------------

    def _sweep(self, t: float, key: bool, sample: str) -> tuple[F32, npt.NDArray[np.int32], Triangles]:
        ego = self.ego(t)
        x, y, _ = ego.translation
        triangles = together(self.stage.moving(t), self.stage.still(x, y, 120.0))
        rng = generator(WORLD_VERSION, self.spec.seed, self.spec.name, "lidar", self._us(t))
        points, owner = self.lidar.sweep(triangles, ego, rng)
        name = self._file(LIDAR, t, key)
        write_file(self.root / name, points.tobytes())
        self._add_data(LIDAR, t, ego, sample, key, name, (0, 0))
        return points, owner, triangles

    def _keyframe(self, index: int) -> None:
        spec = self.spec
        t = index * KEYFRAME_PERIOD
        sample = spec.token("sample", index)
        self.rows["sample"].append(
            {
                "token": sample,
                "timestamp": self._us(t),
                "prev": spec.token("sample", index - 1) if index else "",
                "next": spec.token("sample", index + 1) if index + 1 < spec.samples else "",
                "scene_token": spec.token("scene"),
            }
        )
        points, _, triangles = self._sweep(t, True, sample)
        ego = self.ego(t)
        x, y, _z = ego.translation
        still = self.stage.still(x, y, RENDER_RANGE)
        shadow = self._shadows(together(self.stage.moving(t - 0.02), self.stage.still(x, y, 110.0)), x, y)
        count = len(self.stage.cast.agents)
        visible, total = np.zeros(count, np.int64), np.zeros(count, np.int64)
        views = []
        for number, camera in enumerate(self.rig.cameras):
            at = t - camera.lead_s
            noise = index * 6 + number + 1000 * spec.index
            picture = self.picture(camera, at, still, shadow, noise)
            visible, total = visible + picture.visible, total + picture.total
            pose = self.ego(at)
            name = self._file(camera.channel, at, True)
            buffer = io.BytesIO()
            Image.fromarray(picture.image).save(buffer, "JPEG", quality=spec.jpeg_quality)
            write_file(self.root / name, buffer.getvalue())
            self._add_data(camera.channel, at, pose, sample, True, name, (camera.width, camera.height))
            views.append(View(ego.inverse() @ pose @ camera.pose, camera.intrinsic, picture.inverse_depth))
        boxes = self._annotate(t, index, sample, ego, points, visible, total)
        in_ego = ego.inverse()
        local = boxes.copy()
        local[:, :3] = in_ego.apply(boxes[:, :3])
        local[:, 6] -= float(self.stage.ego(t)[2])
        labels = occupancy_labels(
            triangles,
            self.stage.occupancy,
            count,
            local,
            np.array([OCC_OF_CLASS[a.name] for a in self.stage.cast.agents], dtype=np.uint8),
            ego,
            self.stage.layout.ground,
            self.rig.lidar.translation,
            self.rig.lidar.apply(points[:, :3].astype(np.float64)),
            views,
        )
        folder = self.root / "gts" / spec.name / sample
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **labels)
        write_file(folder / "labels.npz", buffer.getvalue())

    def _annotate(
        self,
        t: float,
        index: int,
        sample: str,
        ego: Pose,
        points: F32,
        visible: npt.NDArray[np.int64],
        total: npt.NDArray[np.int64],
    ) -> Array:
        """Add the keyframe's annotations; returns the boxes (n, 7) of all agents in the global frame."""
        boxes = self.boxes(t)
        # As the devkit counts: float32 points of the file, against boxes of the global frame.
        xyz = (ego @ self.rig.lidar).apply(points[:, :3].astype(np.float64))
        counts = points_in_boxes(xyz, boxes)
        speeds = self.stage.agent_speeds(t)
        away = np.hypot(boxes[:, 0] - ego.translation[0], boxes[:, 1] - ego.translation[1])
        least = MIN_VISIBLE_PIXELS * self.spec.image_scale**2
        for k, agent in enumerate(self.stage.cast.agents):
            if away[k] > ANNOTATION_RANGE or (counts[k] == 0 and visible[k] < least):
                continue
            name = attribute(agent, float(speeds[k]))
            length, width, height = agent.size
            self.rows["sample_annotation"].append(
                {
                    "token": self.spec.token("annotation", k, index),
                    "sample_token": sample,
                    "instance_token": self.spec.token("instance", k),
                    "visibility_token": visibility_token(int(visible[k]), int(total[k])),
                    "attribute_tokens": [token("attribute", name)] if name else [],
                    "translation": [float(v) for v in boxes[k, :3]],
                    "size": [width, length, height],
                    "rotation": quaternion(rot_z(float(boxes[k, 6]))),
                    "prev": "",
                    "next": "",
                    "num_lidar_pts": int(counts[k]),
                    "num_radar_pts": 0,
                }
            )
        return boxes

    def _instances(self) -> list[Row]:
        """Link each object's annotations, and list the objects that have any."""
        chains: dict[str, list[Row]] = {}
        for row in self.rows["sample_annotation"]:
            chains.setdefault(row["instance_token"], []).append(row)
        instances = []
        for k, agent in enumerate(self.stage.cast.agents):
            chain = chains.get(self.spec.token("instance", k), [])
            for before, after in itertools.pairwise(chain):
                before["next"], after["prev"] = after["token"], before["token"]
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

    def _calibration(self) -> list[Row]:
        sensors: list[tuple[str, Pose, list[list[float]]]] = [
            (c.channel, c.pose, [[float(v) for v in row] for row in c.intrinsic]) for c in self.rig.cameras
        ]
        sensors.append((LIDAR, self.rig.lidar, []))
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

    def _map(self) -> Row:
        """Write the mask of what can be driven on (0.1 m a pixel, north up), as nuScenes' semantic prior."""
        name = f"maps/{self.spec.token('map')}.png"
        ground = self.stage.layout.ground
        mask = np.where((ground >= 1) & (ground <= 3), 255, 0).astype(np.uint8)[::-1]
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, "PNG", compress_level=1)
        write_file(self.root / name, buffer.getvalue())
        return {
            "category": "semantic_prior",
            "token": self.spec.token("map"),
            "filename": name,
            "log_tokens": [self.spec.token("log")],
        }

    def make(self) -> dict[str, list[Row]]:
        """Write all files of the scene; returns its rows of every table that depends on the scene."""
        spec = self.spec
        for index in range(spec.samples):
            t = index * KEYFRAME_PERIOD
            if index:
                for back in range(spec.sweeps, 0, -1):
                    at = t - back * SWEEP_PERIOD
                    nearest = index if back <= 5 else index - 1
                    self._sweep(at, False, spec.token("sample", nearest))
            self._keyframe(index)
        chains: dict[str, list[Row]] = {}
        for row in self.rows["sample_data"]:
            chains.setdefault(row["calibrated_sensor_token"], []).append(row)
        for chain in chains.values():
            for before, after in itertools.pairwise(chain):
                before["next"], after["prev"] = after["token"], before["token"]
        names = sorted({agent.name for agent in self.stage.cast.agents})
        rows = dict(self.rows)
        rows["instance"] = self._instances()
        rows["calibrated_sensor"] = self._calibration()
        rows["map"] = [self._map()]
        rows["log"] = [
            {
                "token": spec.token("log"),
                "logfile": spec.logfile,
                "vehicle": spec.logfile.split("-")[0],
                "date_captured": "2018-07-24",
                "location": "generated",
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
                "description": f"generated, {self.weather.name}, with {', '.join(names)}",
            }
        ]
        return rows


def pixel_scale(image_scale: float) -> tuple[int, int]:
    """Width and height of the images at this scale."""
    return round(IMAGE_SIZE[0] * image_scale), round(IMAGE_SIZE[1] * image_scale)
