"""Occ3D-nuScenes labels of one keyframe: what fills each voxel, and who has seen it.

The grid is 200 x 200 x 16 voxels of 0.4 m over [-40, -40, -1, 40, 40, 5.4] in the ego frame at the LiDAR
timestamp, indexed [x, y, z].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from bevlite.simulation.world.constants import OCC_FREE, OCC_RANGE, OCC_SHAPE, OCC_VOXEL
from bevlite.simulation.world.geometry import Array, Pose
from bevlite.simulation.world.materials import OCC_OF_GROUND
from bevlite.simulation.world.mesh import F32
from bevlite.simulation.world.stage import Triangles

U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class View:
    """What a camera saw: its pose in the ego frame of the keyframe, intrinsics, inverse depth (H, W)."""

    pose: Pose
    intrinsic: Array
    inverse_depth: F32


@njit(cache=True, nogil=True)
def _fill_ground(grid, rotation, origin, ground, labels, low, voxel):  # type: ignore[no-untyped-def]
    """Label the voxel of each column that holds z = 0 of the global frame."""
    for i in range(grid.shape[0]):
        for j in range(grid.shape[1]):
            x, y = low[0] + (i + 0.5) * voxel, low[1] + (j + 0.5) * voxel
            # Height in the ego frame at which the column meets the ground.
            z = -(origin[2] + rotation[2, 0] * x + rotation[2, 1] * y) / rotation[2, 2]
            k = int(np.floor((z - low[2]) / voxel))
            if k < 0 or k >= grid.shape[2]:
                continue
            gx = origin[0] + rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
            gy = origin[1] + rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
            row, col = int(gy * 10.0), int(gx * 10.0)
            code = 0
            if gx > 0 and gy > 0 and row < ground.shape[0] and col < ground.shape[1]:
                code = ground[row, col]
            grid[i, j, k] = labels[code]


@njit(cache=True, nogil=True)
def _fill_surfaces(  # type: ignore[no-untyped-def]
    grid, corners, owner, owner_label, agents, low, voxel, z_floor
):
    """Label the voxels that triangles (n, 3, 3; ego frame) pass through; agents win over things."""
    step = voxel * 0.45
    for t in range(corners.shape[0]):
        label = owner_label[owner[t]]
        mine = owner[t] < agents
        x_low = min(corners[t, 0, 0], corners[t, 1, 0], corners[t, 2, 0])
        x_high = max(corners[t, 0, 0], corners[t, 1, 0], corners[t, 2, 0])
        y_low = min(corners[t, 0, 1], corners[t, 1, 1], corners[t, 2, 1])
        y_high = max(corners[t, 0, 1], corners[t, 1, 1], corners[t, 2, 1])
        if x_high < low[0] or y_high < low[1] or x_low > -low[0] or y_low > -low[1]:
            continue
        e1 = corners[t, 1] - corners[t, 0]
        e2 = corners[t, 2] - corners[t, 0]
        n1 = max(1, int(np.ceil(np.sqrt(e1[0] ** 2 + e1[1] ** 2 + e1[2] ** 2) / step)))
        n2 = max(1, int(np.ceil(np.sqrt(e2[0] ** 2 + e2[1] ** 2 + e2[2] ** 2) / step)))
        for a in range(n1 + 1):
            u = a / n1
            for b in range(n2 + 1):
                v = b / n2
                if u + v > 1.0 + 1e-9:
                    break
                z = corners[t, 0, 2] + u * e1[2] + v * e2[2]
                if z < z_floor:  # touching the ground: the ground's voxel stays
                    continue
                i = int(np.floor((corners[t, 0, 0] + u * e1[0] + v * e2[0] - low[0]) / voxel))
                j = int(np.floor((corners[t, 0, 1] + u * e1[1] + v * e2[1] - low[1]) / voxel))
                k = int(np.floor((z - low[2]) / voxel))
                if not (0 <= i < grid.shape[0] and 0 <= j < grid.shape[1] and 0 <= k < grid.shape[2]):
                    continue
                if mine or grid[i, j, k] > 10:
                    grid[i, j, k] = label


@njit(cache=True, nogil=True)
def _fill_inside(grid, boxes, labels, low, voxel, free):  # type: ignore[no-untyped-def]
    """Fill free voxels between the lowest and the highest surface of each object, column by column."""
    for n in range(boxes.shape[0]):
        x, y = boxes[n, 0], boxes[n, 1]
        cos, sin = np.cos(boxes[n, 6]), np.sin(boxes[n, 6])
        reach = np.hypot(boxes[n, 3], boxes[n, 4]) / 2
        i0, i1 = int((x - reach - low[0]) / voxel), int((x + reach - low[0]) / voxel)
        j0, j1 = int((y - reach - low[1]) / voxel), int((y + reach - low[1]) / voxel)
        for i in range(max(0, i0), min(grid.shape[0] - 1, i1) + 1):
            for j in range(max(0, j0), min(grid.shape[1] - 1, j1) + 1):
                dx, dy = low[0] + (i + 0.5) * voxel - x, low[1] + (j + 0.5) * voxel - y
                if abs(dx * cos + dy * sin) > boxes[n, 3] / 2 or abs(-dx * sin + dy * cos) > boxes[n, 4] / 2:
                    continue
                first, last = -1, -1
                for k in range(grid.shape[2]):
                    if grid[i, j, k] == labels[n]:
                        if first < 0:
                            first = k
                        last = k
                for k in range(first + 1, last):
                    if grid[i, j, k] == free:
                        grid[i, j, k] = labels[n]


@njit(cache=True, nogil=True)
def _trace(mask, origin, ends, low, voxel):  # type: ignore[no-untyped-def]
    """Mark the voxels that the rays from `origin` (3,) to `ends` (n, 3) pass through, the last included."""
    nx, ny, nz = mask.shape
    for n in range(ends.shape[0]):
        dx, dy, dz = ends[n, 0] - origin[0], ends[n, 1] - origin[1], ends[n, 2] - origin[2]
        i = int(np.floor((origin[0] - low[0]) / voxel))
        j = int(np.floor((origin[1] - low[1]) / voxel))
        k = int(np.floor((origin[2] - low[2]) / voxel))
        si, sj, sk = (1 if dx > 0 else -1), (1 if dy > 0 else -1), (1 if dz > 0 else -1)
        ti = 1e30 if dx == 0 else (low[0] + (i + (si > 0)) * voxel - origin[0]) / dx
        tj = 1e30 if dy == 0 else (low[1] + (j + (sj > 0)) * voxel - origin[1]) / dy
        tk = 1e30 if dz == 0 else (low[2] + (k + (sk > 0)) * voxel - origin[2]) / dz
        wi = 1e30 if dx == 0 else abs(voxel / dx)
        wj = 1e30 if dy == 0 else abs(voxel / dy)
        wk = 1e30 if dz == 0 else abs(voxel / dz)
        while 0 <= i < nx and 0 <= j < ny and 0 <= k < nz:
            mask[i, j, k] = 1
            if ti < tj and ti < tk:
                if ti > 1.0:
                    break
                i += si
                ti += wi
            elif tj < tk:
                if tj > 1.0:
                    break
                j += sj
                tj += wj
            else:
                if tk > 1.0:
                    break
                k += sk
                tk += wk


@njit(cache=True, nogil=True)
def _look(mask, rotation, origin, fx, fy, cx, cy, inverse_depth, low, voxel):  # type: ignore[no-untyped-def]
    """Mark the voxels whose centre a camera sees at or before the surface it shows there."""
    height, width = inverse_depth.shape
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            x, y = low[0] + (i + 0.5) * voxel - origin[0], low[1] + (j + 0.5) * voxel - origin[1]
            for k in range(mask.shape[2]):
                if mask[i, j, k]:
                    continue
                z = low[2] + (k + 0.5) * voxel - origin[2]
                depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
                if depth < 0.3:
                    continue
                u = fx * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z) / depth + cx
                v = fy * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) / depth + cy
                if u < 0 or v < 0 or u >= width or v >= height:
                    continue
                if (depth - voxel * 0.75) * inverse_depth[int(v), int(u)] <= 1.0:
                    mask[i, j, k] = 1


def occupancy_labels(
    triangles: Triangles,
    owner_label: U8,
    agents: int,
    boxes: Array,
    box_labels: U8,
    ego: Pose,
    ground: U8,
    lidar_origin: Array,
    lidar_points: npt.NDArray[np.floating],
    views: list[View],
) -> dict[str, U8]:
    """The arrays of `labels.npz`: `semantics`, `mask_lidar`, `mask_camera`, each (200, 200, 16) uint8.

    Args:
        triangles: the scene at the LiDAR timestamp, in the global frame.
        owner_label: class of every owner.
        agents: owners below this index are agents.
        boxes: (m, 7) x, y, z, l, w, h, yaw of the agents, in the ego frame.
        box_labels: class of every box.
        ego: the ego pose at the LiDAR timestamp.
        ground: ground codes of the layout.
        lidar_origin: (3,) the sensor in the ego frame.
        lidar_points: (n, 3) the keyframe's returns in the ego frame.
        views: what the cameras saw.
    """
    low = np.array(OCC_RANGE[:3])
    grid = np.full(OCC_SHAPE, OCC_FREE, dtype=np.uint8)
    _fill_ground(grid, ego.rotation, ego.translation, ground, OCC_OF_GROUND, low, OCC_VOXEL)
    corners = ego.inverse().apply(triangles.corners)
    _fill_surfaces(grid, corners, triangles.owner, owner_label, agents, low, OCC_VOXEL, 0.2)
    _fill_inside(grid, boxes, box_labels, low, OCC_VOXEL, OCC_FREE)
    seen = np.zeros(OCC_SHAPE, dtype=np.uint8)
    _trace(seen, lidar_origin, np.asarray(lidar_points, dtype=np.float64), low, OCC_VOXEL)
    looked = np.zeros(OCC_SHAPE, dtype=np.uint8)
    for view in views:
        k = view.intrinsic
        inverse = np.ascontiguousarray(view.pose.rotation.T)
        _look(
            looked, inverse, view.pose.translation, k[0, 0], k[1, 1], k[0, 2], k[1, 2],
            view.inverse_depth, low, OCC_VOXEL,
        )  # fmt: skip
    return {"semantics": grid, "mask_lidar": seen, "mask_camera": looked}
