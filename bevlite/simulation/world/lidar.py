"""A 32-beam LiDAR by ray casting: true ray-triangle hits, range noise, drop-out, intensity, ring."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from bevlite.simulation.world.constants import (
    LIDAR_COLUMNS,
    LIDAR_DARK,
    LIDAR_DROPOUT,
    LIDAR_DROPOUT_DARK,
    LIDAR_ELEVATION_DEG,
    LIDAR_MAX_RANGE,
    LIDAR_RANGE_SIGMA,
    LIDAR_RINGS,
)
from bevlite.simulation.world.geometry import Array, Pose
from bevlite.simulation.world.mesh import F32
from bevlite.simulation.world.noise import patches
from bevlite.simulation.world.rules import LidarRules
from bevlite.simulation.world.stage import Triangles

_LOW, _HIGH = np.radians(LIDAR_ELEVATION_DEG[0]), np.radians(LIDAR_ELEVATION_DEG[1])
# The rack on the ego's roof that the lower beams meet, in the ego frame: x0, x1, y0, y1, z.
_ROOF = (-0.9, 1.7, -0.32, 0.32, 1.57)


def beam_directions() -> Array:
    """Unit directions (rings, columns, 3) in the sensor frame (x right, y forward, z up).

    Column j points to azimuth -pi + (j + 0.5) * 2 pi / columns, counted from x to y.
    """
    elevation = np.linspace(_LOW, _HIGH, LIDAR_RINGS)[:, None]
    azimuth = (-np.pi + (np.arange(LIDAR_COLUMNS) + 0.5) * 2 * np.pi / LIDAR_COLUMNS)[None]
    z = np.broadcast_to(np.sin(elevation), (LIDAR_RINGS, LIDAR_COLUMNS))
    return np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), z], -1)


@njit(cache=True, nogil=True)
def _flat_distance(ax, ay, bx, by):  # type: ignore[no-untyped-def]
    """Distance of the origin from the segment a-b in the plane."""
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    f = 0.0 if square < 1e-12 else min(max(-(ax * dx + ay * dy) / square, 0.0), 1.0)
    return np.hypot(ax + f * dx, ay + f * dy)


@njit(cache=True, nogil=True)
def cast_rays(corners, rotation, origin, beams, low, high, max_range, distance, hit, cosine):  # type: ignore[no-untyped-def]
    """Keep for every beam the nearest triangle: distance (rings, columns), its index, cosine of incidence.

    `corners` (n, 3, 3) are global; `rotation` @ (p - origin) takes them to the sensor frame.
    """
    rings, columns = distance.shape
    step_e = (high - low) / (rings - 1)
    step_a = 2 * np.pi / columns
    p = np.empty((3, 3))
    for t in range(corners.shape[0]):
        azimuth0 = 0.0
        a_low, a_high = 0.0, 0.0
        far, z_low, z_high = 0.0, 1e9, -1e9
        for k in range(3):
            x, y, z = corners[t, k, 0] - origin[0], corners[t, k, 1] - origin[1], corners[t, k, 2] - origin[2]
            for i in range(3):
                p[k, i] = rotation[i, 0] * x + rotation[i, 1] * y + rotation[i, 2] * z
            flat = np.hypot(p[k, 0], p[k, 1])
            far = max(far, flat)
            z_low, z_high = min(z_low, p[k, 2]), max(z_high, p[k, 2])
            azimuth = np.arctan2(p[k, 1], p[k, 0])
            if k == 0:
                azimuth0 = azimuth
            else:
                turn = azimuth - azimuth0
                if turn > np.pi:
                    turn -= 2 * np.pi
                elif turn < -np.pi:
                    turn += 2 * np.pi
                a_low, a_high = min(a_low, turn), max(a_high, turn)
        near = min(
            _flat_distance(p[0, 0], p[0, 1], p[1, 0], p[1, 1]),
            _flat_distance(p[1, 0], p[1, 1], p[2, 0], p[2, 1]),
            _flat_distance(p[2, 0], p[2, 1], p[0, 0], p[0, 1]),
        )
        if near > max_range:
            continue
        near = max(near, 0.05)
        e_high = np.arctan2(z_high, near if z_high > 0 else far)
        e_low = np.arctan2(z_low, near if z_low < 0 else far)
        if e_high < low or e_low > high:
            continue
        r0 = max(0, int(np.ceil((e_low - low) / step_e - 1e-6)))
        r1 = min(rings - 1, int(np.floor((e_high - low) / step_e + 1e-6)))
        if r1 < r0:
            continue
        c0 = int(np.ceil((azimuth0 + a_low + np.pi) / step_a - 0.5 - 1e-6))
        c1 = int(np.floor((azimuth0 + a_high + np.pi) / step_a - 0.5 + 1e-6))
        if c1 < c0:
            continue
        e1x, e1y, e1z = p[1, 0] - p[0, 0], p[1, 1] - p[0, 1], p[1, 2] - p[0, 2]
        e2x, e2y, e2z = p[2, 0] - p[0, 0], p[2, 1] - p[0, 1], p[2, 2] - p[0, 2]
        nx, ny, nz = e1y * e2z - e1z * e2y, e1z * e2x - e1x * e2z, e1x * e2y - e1y * e2x
        norm = np.sqrt(nx * nx + ny * ny + nz * nz)
        if norm < 1e-12:
            continue
        offset = nx * p[0, 0] + ny * p[0, 1] + nz * p[0, 2]
        # Barycentric coordinates as two linear forms of the hit point times its distance.
        m1x, m1y, m1z = e2y * nz - e2z * ny, e2z * nx - e2x * nz, e2x * ny - e2y * nx
        m2x, m2y, m2z = e1y * nz - e1z * ny, e1z * nx - e1x * nz, e1x * ny - e1y * nx
        d1 = m1x * e1x + m1y * e1y + m1z * e1z
        d2 = m2x * e2x + m2y * e2y + m2z * e2z
        if d1 == 0 or d2 == 0:
            continue
        for c in range(c0, c1 + 1):
            j = c % columns
            for r in range(r0, r1 + 1):
                bx, by, bz = beams[r, j, 0], beams[r, j, 1], beams[r, j, 2]
                slope = nx * bx + ny * by + nz * bz
                if abs(slope) < 1e-12:
                    continue
                d = offset / slope
                if d <= 0.05 or d >= distance[r, j]:
                    continue
                qx, qy, qz = d * bx - p[0, 0], d * by - p[0, 1], d * bz - p[0, 2]
                u = (m1x * qx + m1y * qy + m1z * qz) / d1
                v = (m2x * qx + m2y * qy + m2z * qz) / d2
                if u >= 0 and v >= 0 and u + v <= 1:
                    distance[r, j] = d
                    hit[r, j] = t
                    cosine[r, j] = abs(slope) / norm


@njit(cache=True, nogil=True)
def _cast_ground(  # type: ignore[no-untyped-def]
    beams,
    rotation,
    origin,
    ego_rotation,
    ego_origin,
    ground,
    reflect,
    patchy,
    roof,
    max_range,
    distance,
    hit,
    cosine,
    reflectivity,
):
    """Add the ground (z = 0, hit -2) and the ego's own roof (hit -3) where they are nearer."""
    rings, columns = distance.shape
    rows, cols = ground.shape
    # The sensor in the ego frame.
    for r in range(rings):
        for j in range(columns):
            gx = rotation[0, 0] * beams[r, j, 0] + rotation[1, 0] * beams[r, j, 1] + rotation[2, 0] * beams[r, j, 2]
            gy = rotation[0, 1] * beams[r, j, 0] + rotation[1, 1] * beams[r, j, 1] + rotation[2, 1] * beams[r, j, 2]
            gz = rotation[0, 2] * beams[r, j, 0] + rotation[1, 2] * beams[r, j, 1] + rotation[2, 2] * beams[r, j, 2]
            if gz > -1e-4:
                continue
            d = -origin[2] / gz
            if d < distance[r, j] and d < max_range:
                x, y = origin[0] + d * gx, origin[1] + d * gy
                row, col = int(y * 10.0), int(x * 10.0)
                code = 0
                if x > 0 and y > 0 and row < rows and col < cols:
                    code = ground[row, col]
                distance[r, j] = d
                hit[r, j] = -2
                cosine[r, j] = -gz
                reflectivity[r, j] = reflect[code]
                if patchy > 0.0:
                    reflectivity[r, j] *= 1.0 + patchy * patches(x, y)
            ex = ego_rotation[0, 0] * gx + ego_rotation[1, 0] * gy + ego_rotation[2, 0] * gz
            ey = ego_rotation[0, 1] * gx + ego_rotation[1, 1] * gy + ego_rotation[2, 1] * gz
            ez = ego_rotation[0, 2] * gx + ego_rotation[1, 2] * gy + ego_rotation[2, 2] * gz
            if ez < -1e-3:
                d = (roof[4] - ego_origin[2]) / ez
                x, y = ego_origin[0] + d * ex, ego_origin[1] + d * ey
                if 0 < d < distance[r, j] and roof[0] < x < roof[1] and roof[2] < y < roof[3]:
                    distance[r, j] = d
                    hit[r, j] = -3
                    cosine[r, j] = 0.6
                    reflectivity[r, j] = 0.2


class Lidar:
    """The LiDAR of one log, mounted at `mount` in the ego frame, over `ground` (rows, columns of codes)."""

    def __init__(self, mount: Pose, ground: npt.NDArray[np.uint8], rules: LidarRules) -> None:
        self._mount, self._ground, self._rules = mount, ground, rules
        self._reflect = np.array(rules.ground, dtype=np.float32)
        self._beams = np.ascontiguousarray(beam_directions())

    def sweep(self, triangles: Triangles, ego: Pose, rng: np.random.Generator) -> tuple[F32, npt.NDArray[np.int32]]:
        """One turn from the ego pose `ego` (global).

        Returns points (n, 5) as x, y, z (m, sensor frame), intensity 0..255, ring, and the owner (n,) of each
        point: an owner's index, -2 the ground, -3 the ego's roof.
        """
        sensor = ego @ self._mount
        inverse = np.ascontiguousarray(sensor.rotation.T)
        shape = self._beams.shape[:2]
        distance = np.full(shape, LIDAR_MAX_RANGE)
        hit = np.full(shape, -1, dtype=np.int32)
        cosine = np.zeros(shape)
        cast_rays(
            triangles.corners, inverse, sensor.translation, self._beams, _LOW, _HIGH, LIDAR_MAX_RANGE,
            distance, hit, cosine,
        )  # fmt: skip
        on_object = hit >= 0
        reflectivity = np.zeros(shape)
        reflectivity[on_object] = triangles.reflectivity[hit[on_object]]
        owner = np.full(shape, -1, dtype=np.int32)
        owner[on_object] = triangles.owner[hit[on_object]]
        _cast_ground(
            self._beams, inverse, sensor.translation, ego.rotation, self._mount.translation, self._ground,
            self._reflect, self._rules.ground_patches, np.array(_ROOF), LIDAR_MAX_RANGE, distance, hit, cosine,
            reflectivity,
        )  # fmt: skip
        owner = np.where(hit < -1, hit, owner)
        chance = rng.random(shape)
        noise = rng.normal(0.0, LIDAR_RANGE_SIGMA, shape)
        spread = rng.normal(1.0, 0.18, shape)
        strength = reflectivity * np.sqrt(np.clip(cosine, 0.0, 1.0))
        beyond = np.maximum(distance - self._rules.dropout_onset, 0.0)
        far = self._rules.dropout_far * (beyond / LIDAR_MAX_RANGE) ** 2
        lost = LIDAR_DROPOUT + np.minimum(far, self._rules.dropout_far_most)
        rules = self._rules
        dark = rules.dropout_dark * np.exp(-strength / rules.dark)
        lost = lost + np.where(on_object & (hit >= 0), dark, LIDAR_DROPOUT_DARK * np.exp(-strength / LIDAR_DARK))
        keep = (hit != -1) & (chance > lost)
        away = np.maximum(distance + noise, 0.05)
        xyz = self._beams * away[..., None]
        intensity = np.clip(strength * spread * 115.0, 0.0, 255.0).round()
        ring = np.broadcast_to(np.arange(shape[0])[:, None], shape)
        points = np.concatenate([xyz, intensity[..., None], ring[..., None]], -1)
        # As a turning sensor would write them: column by column, all rings of one column together.
        order = np.transpose(keep)
        return np.transpose(points, (1, 0, 2))[order].astype(np.float32), np.transpose(owner)[order]


@njit(cache=True)
def _count(points, centre, cos, sin, half, counts):  # type: ignore[no-untyped-def]
    for i in range(points.shape[0]):
        for k in range(centre.shape[0]):
            dx, dy, dz = points[i, 0] - centre[k, 0], points[i, 1] - centre[k, 1], points[i, 2] - centre[k, 2]
            if abs(dz) > half[k, 2]:
                continue
            if abs(dx * cos[k] + dy * sin[k]) <= half[k, 0] and abs(-dx * sin[k] + dy * cos[k]) <= half[k, 1]:
                counts[k] += 1


def points_in_boxes(points: Array, boxes: Array) -> npt.NDArray[np.int64]:
    """How many points (n, 3) lie in each box (m, 7; upright): x, y, z centre, l, w, h, yaw; one frame."""
    counts = np.zeros(len(boxes), dtype=np.int64)
    _count(
        np.ascontiguousarray(points), boxes[:, :3].copy(), np.cos(boxes[:, 6]), np.sin(boxes[:, 6]),
        boxes[:, 3:6] / 2, counts,
    )  # fmt: skip
    return counts
