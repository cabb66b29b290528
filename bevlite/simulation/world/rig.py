"""Calibration of six cameras and one LiDAR, close to a nuScenes car; every log has its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bevlite.data.classes import LIDAR
from bevlite.simulation.world.constants import (
    CALIBRATION_SIGMA_CENTRE,
    CALIBRATION_SIGMA_DEG,
    CALIBRATION_SIGMA_FOCAL,
    CALIBRATION_SIGMA_M,
    IMAGE_SIZE,
)
from bevlite.simulation.world.geometry import Array, Pose, rot_x, rot_y, rot_z

# Optical axes: camera x is the ego's -y, camera y is -z, camera z is x.
_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])

# channel: position in the ego frame (m), yaw (deg), focal length (pixels), time before the LiDAR (s).
_CAMERAS: dict[str, tuple[tuple[float, float, float], float, float, float]] = {
    "CAM_FRONT": ((1.70, 0.016, 1.511), 0.3, 1266.4, 0.0355),
    "CAM_FRONT_RIGHT": ((1.55, -0.493, 1.496), -55.8, 1260.8, 0.0276),
    "CAM_FRONT_LEFT": ((1.52, 0.495, 1.509), 55.0, 1272.6, 0.0431),
    "CAM_BACK": ((0.03, 0.003, 1.579), 179.8, 809.2, 0.0104),
    "CAM_BACK_LEFT": ((1.04, 0.485, 1.591), 108.6, 1256.7, 0.0005),
    "CAM_BACK_RIGHT": ((1.01, -0.481, 1.562), -110.2, 1259.5, 0.0201),
}


@dataclass(frozen=True)
class Camera:
    """A camera: pose in the ego frame, intrinsic matrix (3, 3) in pixels, image size, lead over the LiDAR."""

    channel: str
    pose: Pose
    intrinsic: Array
    width: int
    height: int
    lead_s: float


@dataclass(frozen=True)
class Rig:
    """The sensors of one log; poses are in the ego frame (x forward, y left, z up)."""

    cameras: tuple[Camera, ...]
    lidar: Pose
    lidar_channel: str = LIDAR


def make_rig(rng: np.random.Generator, image_scale: float) -> Rig:
    """The rig of one log: nuScenes-like mounting with a small random error of its own."""

    def jitter(yaw_deg: float) -> Array:
        error = np.radians(rng.normal(0.0, CALIBRATION_SIGMA_DEG, 3))
        return np.asarray(rot_z(np.radians(yaw_deg) + error[0]) @ rot_y(error[1]) @ rot_x(error[2]))

    width, height = (round(size * image_scale) for size in IMAGE_SIZE)
    cameras = []
    for channel, (position, yaw, focal, lead) in _CAMERAS.items():
        f = focal * (1 + rng.normal(0.0, CALIBRATION_SIGMA_FOCAL)) * image_scale
        cx = (IMAGE_SIZE[0] / 2 + 10 + rng.normal(0.0, CALIBRATION_SIGMA_CENTRE)) * image_scale
        cy = (IMAGE_SIZE[1] / 2 + 40 + rng.normal(0.0, CALIBRATION_SIGMA_CENTRE)) * image_scale
        translation = np.array(position) + rng.normal(0.0, CALIBRATION_SIGMA_M, 3)
        intrinsic = np.array([[f, 0.0, cx], [0.0, f, cy], [0.0, 0.0, 1.0]])
        cameras.append(Camera(channel, Pose(jitter(yaw) @ _OPTICAL, translation), intrinsic, width, height, lead))
    lidar = Pose(jitter(-90.0), np.array([0.944, 0.0, 1.84]) + rng.normal(0.0, CALIBRATION_SIGMA_M, 3))
    return Rig(tuple(cameras), lidar)
