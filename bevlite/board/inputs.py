"""From what sensors give to what engines take, step by step: the numpy references, on the board's CPU.

A package names its steps in plain data (`Host.on_board` of a part). Steps of the calibration are done again only when
it changes.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, NamedTuple

import numpy as np

from bevlite.runtime.columns import column_tables
from bevlite.runtime.pillars import PillarGrid, group_pillars
from bevlite.runtime.pooling import CellGrid, Frustum, frustum_cells, pooling_tables
from bevlite.runtime.rebatching import camera_slots
from bevlite.runtime.sampling import column_coordinates, hat_weights, lookup_table, pull_tables

Arrays = Mapping[str, np.ndarray]
CLOSEST_M = np.float32(0.5)
"""Closer than this to a camera's plane a point gives no depth (bevlite.data.lidar)."""


class Seen(NamedTuple):
    """A frame in the BEV frame, in metres.

    points: (K, 5) float32 x, y, z, intensity 0..255, lag in s. pixel_to_bev: (N, 4, 4), network image
    (u * depth, v * depth, depth, 1) to the BEV frame. ego_motion: (4, 4), BEV frame of the frame before to this one's.
    """

    points: np.ndarray | None
    pixel_to_bev: np.ndarray | None
    ego_motion: np.ndarray


class Step(NamedTuple):
    """What makes inputs, and whether only a new calibration changes them."""

    make: Callable[[Mapping[str, Any], Seen], Arrays]
    by_calibration: bool


def make(settings: Mapping[str, Any], seen: Seen) -> dict[str, np.ndarray]:
    """Inputs of engines by name, of one step (raises ValueError when a calibration cannot be held)."""
    return dict(STEPS[settings["step"]].make(settings, seen))


def _pillars(settings: Mapping[str, Any], seen: Seen) -> Arrays:
    grid = PillarGrid(**dict(settings["grid"], origin_m=tuple(settings["grid"]["origin_m"])))
    assert seen.points is not None
    used, index = group_pillars(seen.points, grid)
    pillars = np.zeros((1, *used.shape[:2], grid.max_pillars), np.float32)
    pillars[0, :, :, : used.shape[2]] = used
    return {"pillars": pillars, "pillar_index": index[None]}


def _pooling(tables: Callable[..., dict[str, np.ndarray]]) -> Callable[[Mapping[str, Any], Seen], Arrays]:
    def build(settings: Mapping[str, Any], seen: Seen) -> Arrays:
        grid, matrix = CellGrid(**settings["grid"]), _matrix(seen)
        if settings["spread"] is not None:
            matrix = matrix @ np.asarray(settings["spread"])
        cells = frustum_cells(_frustum(settings), grid, matrix)
        return tables(cells, grid.nx * grid.ny, settings["chunk"], tuple(settings["capacities"]))

    return build


def _column_matrices(settings: Mapping[str, Any], seen: Seen) -> Arrays:
    grid, frustum = CellGrid(**settings["grid"]), _frustum(settings)
    places = column_coordinates(grid, (grid.z_min + grid.z_max) / 2, frustum, _matrix(seen))
    return {
        settings["ring"]: hat_weights(places[..., 1], len(frustum.depths_m)),
        settings["ray"]: hat_weights(places[..., 0], frustum.width),
    }


def _voxel_lookup(settings: Mapping[str, Any], seen: Seen) -> Arrays:
    grid = CellGrid(**settings["grid"])
    return {settings["name"]: lookup_table(grid, settings["heights_m"], _frustum(settings), _matrix(seen))}


def _pull(settings: Mapping[str, Any], seen: Seen) -> Arrays:
    grid, frustum = CellGrid(**settings["grid"]), _frustum(settings)
    return pull_tables(grid, settings["heights_m"], frustum, _matrix(seen), settings["contributions"])


def _camera_slots(settings: Mapping[str, Any], seen: Seen) -> Arrays:
    size = (settings["image_size"][0], settings["image_size"][1])
    grid, slots, overlap = CellGrid(**settings["grid"]), settings["slots"], settings["overlap"]
    return camera_slots(grid, settings["heights_m"], _matrix(seen), size, slots, overlap)


def _depth_images(settings: Mapping[str, Any], seen: Seen) -> Arrays:
    """The nearest LiDAR depth of every pixel, (N, 1, H, W) float32 m, 0 where no point falls."""
    assert seen.points is not None
    height, width = settings["image_size"]
    images = []
    for matrix in np.linalg.inv(_matrix(seen)).astype(np.float32):
        image = np.full(height * width, np.inf, np.float32)
        at = seen.points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
        at = at[at[:, 2] > CLOSEST_M]
        u, v = (np.floor(at[:, axis] / at[:, 2] + np.float32(0.5)) for axis in (0, 1))
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
        place = v[inside].astype(np.int64) * width + u[inside].astype(np.int64)
        np.minimum.at(image, place, at[inside, 2])
        image[np.isinf(image)] = 0
        images.append(image.reshape(1, height, width))
    return {settings["name"]: np.stack(images)}


def _ego_motion(_: Mapping[str, Any], seen: Seen) -> Arrays:
    return {"ego_motion": seen.ego_motion[None].astype(np.float32)}


def _frustum(settings: Mapping[str, Any]) -> Frustum:
    return Frustum(**dict(settings["frustum"], depths_m=tuple(settings["frustum"]["depths_m"])))


def _matrix(seen: Seen) -> np.ndarray:
    assert seen.pixel_to_bev is not None
    return seen.pixel_to_bev


STEPS: dict[str, Step] = {
    "pillars": Step(_pillars, False),
    "pooling_tree": Step(_pooling(pooling_tables), True),
    "pooling_columns": Step(_pooling(column_tables), True),
    "column_matrices": Step(_column_matrices, True),
    "voxel_lookup": Step(_voxel_lookup, True),
    "pull": Step(_pull, True),
    "camera_slots": Step(_camera_slots, True),
    "depth_images": Step(_depth_images, False),
    "ego_motion": Step(_ego_motion, False),
}
"""Every step by the name that a package calls it."""
