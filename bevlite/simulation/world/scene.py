"""One scene from its seed to its files: sweeps, images, occupancy labels and the map."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from bevlite.data.classes import LIDAR
from bevlite.simulation.world.agents import plan_ego
from bevlite.simulation.world.cast import make_cast
from bevlite.simulation.world.constants import (
    ANNOTATION_RANGE,
    BOX_BOTTOM,
    EGO_TILT_DEG,
    KEYFRAME_PERIOD,
    OCC_OF_CLASS,
    RENDER_RANGE,
    SWEEP_PERIOD,
)
from bevlite.simulation.world.geometry import Array, Pose, rot_x, rot_y, rot_z
from bevlite.simulation.world.layout import GROUND_RESOLUTION, make_layout
from bevlite.simulation.world.lidar import Lidar, points_in_boxes
from bevlite.simulation.world.map_expansion import map_expansion
from bevlite.simulation.world.materials import DRIVEABLE_GROUND
from bevlite.simulation.world.mesh import F32
from bevlite.simulation.world.occupancy import View, occupancy_labels
from bevlite.simulation.world.pictures import Pictures
from bevlite.simulation.world.rig import Rig, make_rig
from bevlite.simulation.world.rows import Row, SceneRows, visibility_token
from bevlite.simulation.world.spec import SceneSpec
from bevlite.simulation.world.stage import Stage, Triangles, together
from bevlite.simulation.world.weather import Weather, make_weather, weather_name


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


class SceneMaker:
    """Holds what is common to all frames of a scene, and makes its files under `root`."""

    def __init__(self, spec: SceneSpec, root: Path) -> None:
        self.spec, self.root = spec, root
        duration = (spec.samples - 1) * KEYFRAME_PERIOD

        rng, rules = spec.generator, spec.rules
        plan = plan_ego(rng("ego"), duration)
        layout = make_layout(rng("layout"), float(plan.travelled[-1]), rules)
        cast = make_cast(rng("cast"), layout, plan, rules)
        self.stage = Stage(layout, cast, rng("stage"))
        self.rig: Rig = make_rig(rng("rig"), spec.image_scale)
        self.weather: Weather = make_weather(rng("weather"), weather_name(spec.index, spec.seed, rules), rules)
        self.lidar = Lidar(self.rig.lidar, layout.ground, rules.lidar)
        self._tilt = rng("tilt").uniform(0, 2 * np.pi, 2)
        self.pictures = Pictures(self.stage, self.weather)
        self.rows = SceneRows(spec, cast.agents)

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

    # --- the scene ----------------------------------------------------------------------------------------

    def _file(self, channel: str, t: float, key: bool) -> str:
        ending = "pcd.bin" if channel == LIDAR else "jpg"
        folder = "samples" if key else "sweeps"
        return f"{folder}/{channel}/{self.spec.logfile}__{channel}__{self.spec.us(t)}.{ending}"

    def _sweep(self, t: float, key: bool, sample: str) -> tuple[F32, npt.NDArray[np.int32], Triangles]:
        ego = self.ego(t)
        x, y, _ = ego.translation
        triangles = together(self.stage.moving(t), self.stage.still(x, y, 120.0))
        rng = self.spec.generator("lidar", self.spec.us(t))
        points, owner = self.lidar.sweep(triangles, ego, rng)
        name = self._file(LIDAR, t, key)
        write_file(self.root / name, points.tobytes())
        self.rows.add_data(LIDAR, t, ego, sample, key, name, (0, 0))
        return points, owner, triangles

    def _keyframe(self, index: int) -> None:
        spec = self.spec
        t = index * KEYFRAME_PERIOD
        sample = self.rows.add_sample(index, t)
        points, _, triangles = self._sweep(t, True, sample)
        ego = self.ego(t)
        x, y, _z = ego.translation
        still = self.stage.still(x, y, RENDER_RANGE)
        shadow = self.pictures.shadows(together(self.stage.moving(t - 0.02), self.stage.still(x, y, 110.0)), x, y)
        count = len(self.stage.cast.agents)
        visible, total = np.zeros(count, np.int64), np.zeros(count, np.int64)
        views = []
        for number, camera in enumerate(self.rig.cameras):
            at = t - camera.lead_s
            noise = index * 6 + number + 1000 * spec.index
            pose = self.ego(at)
            picture = self.pictures.take(camera, pose, at, still, shadow, noise)
            visible, total = visible + picture.visible, total + picture.total
            name = self._file(camera.channel, at, True)
            buffer = io.BytesIO()
            Image.fromarray(picture.image).save(buffer, "JPEG", quality=spec.jpeg_quality)
            write_file(self.root / name, buffer.getvalue())
            self.rows.add_data(camera.channel, at, pose, sample, True, name, (camera.width, camera.height))
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
        least = self.spec.rules.min_visible_pixels * self.spec.image_scale**2
        for k in range(len(boxes)):
            if away[k] > ANNOTATION_RANGE or (counts[k] == 0 and visible[k] < least):
                continue
            visibility = visibility_token(int(visible[k]), int(total[k]))
            self.rows.add_annotation(k, index, sample, boxes[k], float(speeds[k]), visibility, int(counts[k]))
        return boxes

    def _map(self) -> str:
        """Write the mask of what can be driven on (0.1 m a pixel, north up), as nuScenes' semantic prior; its name.

        Versions with a vector map get that beside it, under the name of the log's location.
        """
        name = f"maps/{self.spec.token('map')}.png"
        layout = self.stage.layout
        mask = np.where(np.isin(layout.ground, DRIVEABLE_GROUND), 255, 0).astype(np.uint8)[::-1]
        buffer = io.BytesIO()
        Image.fromarray(mask).save(buffer, "PNG", compress_level=1)
        write_file(self.root / name, buffer.getvalue())
        if layout.plan is not None:
            size = (mask.shape[1] * GROUND_RESOLUTION, mask.shape[0] * GROUND_RESOLUTION)
            content = map_expansion(layout.plan, layout.street, layout.path, size, self.spec.token)
            folder = self.root / "maps" / "expansion"
            folder.mkdir(exist_ok=True)
            write_file(folder / f"{self.spec.location}.json", json.dumps(content, allow_nan=False).encode())
        return name

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
        rows = self.rows.finished(self.rig, self.weather.name, self._map())
        if spec.rules.decoys:
            rows["decoys"] = self._decoys()
        return rows

    def _decoys(self) -> list[Row]:
        """What looks like an object and is none: family, place (m, global), size (w, l, h) and yaw."""
        out = []
        for thing in self.stage.cast.decoys:
            height = float(thing.mesh.triangles[..., 2].max())
            length, width = thing.footprint
            out.append(
                {
                    "family": thing.kind,
                    "translation": [thing.x, thing.y, height / 2],
                    "size": [width, length, height],
                    "yaw": thing.yaw,
                }
            )
        return out
