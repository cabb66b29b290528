"""Sweeps of a LiDAR as one cloud in the frame of the newest: the numpy reference of the kernel on the board."""

from __future__ import annotations

import numpy as np

EGO_RADIUS_M = 1.0
"""Returns from the car's own roof: closer than this along x and y of the sensor frame."""


def compensated(points: np.ndarray, first: np.ndarray, poses: np.ndarray, lag_s: np.ndarray) -> np.ndarray:
    """Sweeps compensated for the motion of the car, newest first.

    Sums are rounded to float32 one by one in a fixed order, so that a kernel can match them to the last bit. Training
    (`bevlite.data.lidar`) multiplies by BLAS, whose order is its own: coordinates differ by less than 0.1 mm.

    Args:
        points: (K, 4 or more) float32: x, y, z m in the sensor frame of their sweep, intensity.
        first: (S + 1,) int: where each sweep begins, and where the last ends.
        poses: (S, 4, 4), sensor frame of each sweep to the BEV frame.
        lag_s: (S,) s since each sweep.

    Returns:
        (P, 5) float32: x, y, z in m, intensity, lag in s; without the car's own roof and points that are not finite.
    """
    cloud = []
    for matrix, lag, begin, end in zip(poses.astype(np.float32), lag_s, first[:-1], first[1:]):
        sweep = points[begin:end, :4]
        near = (np.abs(sweep[:, 0]) < EGO_RADIUS_M) & (np.abs(sweep[:, 1]) < EGO_RADIUS_M)
        x, y, z, intensity = sweep[~near & np.isfinite(sweep).all(axis=1)].T
        part = np.empty((len(x), 5), np.float32)
        for axis in range(3):
            row = matrix[axis]
            part[:, axis] = x * row[0] + y * row[1] + z * row[2] + row[3]
        part[:, 3], part[:, 4] = intensity, np.float32(lag)
        cloud.append(part)
    return np.concatenate(cloud) if cloud else np.zeros((0, 5), np.float32)
