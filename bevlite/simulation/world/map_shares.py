"""How much of the ground around the ego each class of the vector map covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bevlite.data.classes import MAP_CLASSES
from bevlite.data.vector_map import draw_map, map_file, read_vector_map


def map_shares(root: Path, places: Mapping[str, Sequence[tuple[float, float, float]]]) -> dict[str, float]:
    """The mean share of the square around the ego where maps are scored, by class, in cells of 0.5 m; empty where a
    location has no vector map.

    Args:
        root: the data root.
        places: the ego's x, y (m, global) and yaw at every keyframe, by location.

    Raises:
        DataError: a map cannot be read.
    """
    total, count = np.zeros(len(MAP_CLASSES)), 0
    for location, poses in places.items():
        file = root / map_file(location)
        if not file.exists():
            return {}
        shapes = read_vector_map(file)
        for x, y, yaw in poses:
            ego_to_map = np.eye(4)
            ego_to_map[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
            ego_to_map[:2, 3] = x, y
            total += draw_map(shapes, np.linalg.inv(ego_to_map)).mean(axis=(1, 2))
        count += len(poses)
    return dict(zip(MAP_CLASSES, (total / count).tolist(), strict=True))
