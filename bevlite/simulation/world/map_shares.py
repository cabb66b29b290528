"""How much of the ground around the ego each class of the vector map covers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.errors import DataError

# What networks are asked for, and the layers that it is made of, as BEVFusion has them.
MAP_SHARE_CLASSES: Mapping[str, tuple[str, ...]] = {
    "drivable_area": ("road_segment", "lane"),
    "ped_crossing": ("ped_crossing",),
    "walkway": ("walkway",),
    "stop_line": ("stop_line",),
    "carpark_area": ("carpark_area",),
    "divider": ("road_divider", "lane_divider"),
}
REACH = 50.0
LINE_WIDTH = 1.0  # two cells of 0.5 m, as the devkit draws lines


def _read(file: Path) -> dict[str, Any]:
    """The union of every class's shapes in one map, by class."""
    from shapely import LineString, Polygon, union_all

    try:
        content = json.loads(file.read_text())
        node = {row["token"]: (row["x"], row["y"]) for row in content["node"]}
        line = {row["token"]: [node[t] for t in row["node_tokens"]] for row in content["line"]}
        polygon = {
            row["token"]: Polygon(
                [node[t] for t in row["exterior_node_tokens"]],
                [[node[t] for t in hole["node_tokens"]] for hole in row["holes"]],
            )
            for row in content["polygon"]
        }
        shapes: dict[str, Any] = {}
        for name, layers in MAP_SHARE_CLASSES.items():
            rows = [row for layer in layers for row in content[layer]]
            found = [polygon[row["polygon_token"]].buffer(0) for row in rows if "polygon_token" in row]
            lines = [LineString(line[row["line_token"]]) for row in rows if "line_token" in row]
            found += [each.buffer(LINE_WIDTH / 2, cap_style="flat") for each in lines]
            shapes[name] = union_all(found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: cannot be read ({error!r}); accepted: a nuScenes map expansion") from None
    return shapes


def map_shares(root: Path, places: Mapping[str, Sequence[tuple[float, float, float]]]) -> dict[str, float]:
    """The mean share of the square around the ego, by class; empty where a location has no vector map.

    Args:
        root: the data root.
        places: the ego's x, y (m, global) and yaw at every keyframe, by location.

    Raises:
        DataError: a map cannot be read.
    """
    from shapely import Polygon

    total = dict.fromkeys(MAP_SHARE_CLASSES, 0.0)
    corners = REACH * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    count = 0
    for location, poses in places.items():
        file = root / "maps" / "expansion" / f"{location}.json"
        if not file.exists():
            return {}
        shapes = _read(file)
        for x, y, yaw in poses:
            c, s = np.cos(yaw), np.sin(yaw)
            square = Polygon(corners @ np.array([[c, s], [-s, c]]) + np.array([x, y]))
            for name, shape in shapes.items():
                total[name] += shape.intersection(square).area / square.area
        count += len(poses)
    return {name: value / count for name, value in total.items()}
