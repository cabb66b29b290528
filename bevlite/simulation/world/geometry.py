"""Rotations, quaternions (w, x, y, z) and rigid poses in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rot_z(angle: float) -> Array:
    """Rotation matrix (3, 3) about z by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rot_y(angle: float) -> Array:
    """Rotation matrix (3, 3) about y by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rot_x(angle: float) -> Array:
    """Rotation matrix (3, 3) about x by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def quaternion(rotation: Array) -> list[float]:
    """Unit quaternion [w, x, y, z] of a rotation matrix (3, 3), with w >= 0."""
    m = rotation
    # The symmetric 4 x 4 matrix whose top eigenvector is the quaternion; picking the largest diagonal is
    # stable for every rotation.
    candidates = np.array(
        [
            1 + m[0, 0] + m[1, 1] + m[2, 2],
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
        ]
    )
    k = int(np.argmax(candidates))
    if k == 0:
        q = np.array([candidates[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]])
    elif k == 1:
        q = np.array([m[2, 1] - m[1, 2], candidates[1], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0]])
    elif k == 2:
        q = np.array([m[0, 2] - m[2, 0], m[0, 1] + m[1, 0], candidates[2], m[1, 2] + m[2, 1]])
    else:
        q = np.array([m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], candidates[3]])
    q = q / np.linalg.norm(q)
    if q[0] < 0:
        q = -q
    return [float(value) for value in q]


def rotation_of(q: list[float]) -> Array:
    """Rotation matrix (3, 3) of a unit quaternion [w, x, y, z]."""
    w, x, y, z = (np.asarray(q) / np.linalg.norm(q)).tolist()
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@dataclass(frozen=True)
class Pose:
    """A rigid pose: p_parent = rotation @ p_child + translation (metres)."""

    rotation: Array
    translation: Array

    def __matmul__(self, other: Pose) -> Pose:
        return Pose(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def inverse(self) -> Pose:
        """The pose of the parent in the child."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation)

    def apply(self, points: npt.NDArray[np.floating]) -> Array:
        """Points (..., 3) of the child in the parent's frame."""
        return np.asarray(points @ self.rotation.T + self.translation)
