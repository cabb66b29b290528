"""Vector maps in the format of the nuScenes map expansion: read, and drawn on a grid around the car.

One file a location, `maps/expansion/<location>.json` (nuScenes map expansion 1.x). What is read of it: the layers that
`MAP_CLASSES` names, their polygons and lines, and the nodes that these are made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.data.classes import MAP_CLASSES
from bevlite.errors import DataError
from bevlite.grid import BEVGrid

MAP_FOLDER = Path("maps") / "expansion"
MAP_GRID = BEVGrid(x_range_m=(-50.0, 50.0), y_range_m=(-50.0, 50.0), cell_m=0.5)
"""Where map segmentation is scored: 200 x 200 cells around the car (BEVFusion, Liu et al., ICRA 2023)."""
LINE_WIDTH_M = 1.0
"""Lines are drawn as wide as two cells, as the devkit's masks of BEVFusion have them."""
Rings = tuple[np.ndarray, ...]
"""A polygon: its outline and its holes, each (K, 2) in m."""


@dataclass(frozen=True)
class MapShapes:
    """The polygons of one class in the map's frame (global), and their bounds (P, 4): x and y low, x and y high."""

    polygons: tuple[Rings, ...]
    bounds: np.ndarray

    def near(self, centre: np.ndarray, reach_m: float) -> list[Rings]:
        """Polygons whose bounds meet a square around (x, y) that reaches that far."""
        low, high = self.bounds[:, :2], self.bounds[:, 2:]
        meet = ((low <= centre + reach_m) & (high >= centre - reach_m)).all(axis=1)
        return [self.polygons[i] for i in np.flatnonzero(meet)]


VectorMap = dict[str, MapShapes]
"""Shapes by the name of their class, for every one of `MAP_CLASSES`."""


def map_file(location: str) -> Path:
    """Where the vector map of a location lies, relative to the data root."""
    return MAP_FOLDER / f"{location}.json"


@lru_cache(maxsize=64)
def read_vector_map(path: Path) -> VectorMap:
    """The vector map of a location; the last ones are kept (raises DataError)."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: the vector map is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: the vector map cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: found no mapping of layers; accepted: a nuScenes map expansion")
    try:
        nodes = {row["token"]: (float(row["x"]), float(row["y"])) for row in content["node"]}
        polygons = {row["token"]: _rings(row, nodes) for row in content["polygon"]}
        lines = {row["token"]: _points(row["node_tokens"], nodes) for row in content["line"]}
        return {name: _shapes(content, layers, polygons, lines) for name, layers in MAP_CLASSES.items()}
    except (KeyError, TypeError, ValueError) as error:
        detail = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: the vector map cannot be read ({detail})") from None


def _points(tokens: Iterable[str], nodes: Mapping[str, tuple[float, float]]) -> np.ndarray:
    points = np.array([nodes[token] for token in tokens], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(points).all():
        raise ValueError("a node is not finite")
    return points


def _rings(row: Mapping[str, Any], nodes: Mapping[str, tuple[float, float]]) -> Rings:
    holes = (hole["node_tokens"] for hole in row["holes"])
    return (_points(row["exterior_node_tokens"], nodes), *(_points(hole, nodes) for hole in holes))


def _shapes(
    content: Mapping[str, Any],
    layers: Sequence[str],
    polygons: Mapping[str, Rings],
    lines: Mapping[str, np.ndarray],
) -> MapShapes:
    found: list[Rings] = []
    for layer in layers:
        for row in content[layer]:
            if row.get("polygon_token"):
                found.append(polygons[row["polygon_token"]])
            elif row.get("line_token"):
                found += _drawn(lines[row["line_token"]])
    found = [rings for rings in found if len(rings[0]) >= 3]
    bounds = [[*rings[0].min(axis=0), *rings[0].max(axis=0)] for rings in found]
    return MapShapes(tuple(found), np.array(bounds, dtype=np.float64).reshape(-1, 4))


def _drawn(line: np.ndarray) -> list[Rings]:
    """A line (K, 2) as the polygon that it covers when drawn `LINE_WIDTH_M` wide."""
    from shapely.geometry import LineString  # takes a tenth of a second, and not every road here needs it

    if len(line) < 2:
        return []
    drawn = LineString(line).buffer(LINE_WIDTH_M / 2, cap_style="flat")
    parts = getattr(drawn, "geoms", (drawn,))
    return [tuple(np.array(ring.coords) for ring in (part.exterior, *part.interiors)) for part in parts]


def draw_map(shapes: VectorMap, map_to_bev: np.ndarray, grid: BEVGrid = MAP_GRID) -> np.ndarray:
    """What of each class lies under a grid.

    Args:
        shapes: a vector map.
        map_to_bev: (4, 4), map (global) to BEV frame; its rotation about z, mirroring, scale and translation in the
            plane count, for the map has no heights.
        grid: the cells.

    Returns:
        (classes, ny, nx) uint8, 1 where the centre of a cell lies in the class; `MAP_CLASSES` in order.
    """
    linear, offset = _flat(map_to_bev)
    inverse = np.linalg.inv(linear)
    (x0, x1), (y0, y1) = grid.x_range_m, grid.y_range_m
    centre = inverse @ (np.array([(x0 + x1) / 2, (y0 + y1) / 2]) - offset)
    reach = float(np.hypot(x1 - x0, y1 - y0) / 2 * np.linalg.norm(inverse, 2))
    out = np.zeros((len(MAP_CLASSES), grid.ny, grid.nx), dtype=np.uint8)
    for mask, name in zip(out, MAP_CLASSES, strict=True):
        for rings in shapes[name].near(centre, reach):
            mask |= fill_polygon([ring @ linear.T + offset for ring in rings], grid)
    return out


def _flat(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a rigid motion with mirroring and scale that moves the plane: (2, 2) and (2,).

    A car that pitches or rolls sees the same map: the tilt is left out, and not drawn as a shorter road.
    """
    linear = matrix[:2, :2]
    scale = np.cbrt(abs(np.linalg.det(matrix[:3, :3])))
    mirrored = np.sign(np.linalg.det(linear))
    # The nearest rotation, mirrored or not, times the scale.
    u, _, vt = np.linalg.svd(linear)
    nearest = u @ np.diag([1.0, mirrored * np.linalg.det(u) * np.linalg.det(vt)]) @ vt
    return scale * nearest, matrix[:2, 3]


def fill_polygon(rings: Sequence[np.ndarray], grid: BEVGrid) -> np.ndarray:
    """Cells whose centre lies inside a polygon by the even-odd rule.

    Args:
        rings: its outline and holes, each (K, 2) in the grid's frame, closed or not.
        grid: the cells.

    Returns:
        (ny, nx) uint8.
    """
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    y = grid.y_range_m[0] + (np.arange(grid.ny) + 0.5) * grid.cell_m
    # Every row of cells is a ray; an edge is crossed where its ends lie on two sides of it.
    edge, row = np.nonzero((start[:, 1:] <= y) != (end[:, 1:] <= y))
    share = (y[row] - start[edge, 1]) / (end[edge, 1] - start[edge, 1])
    x = start[edge, 0] + share * (end[edge, 0] - start[edge, 0])
    first = np.ceil((x - grid.x_range_m[0]) / grid.cell_m - 0.5).clip(0, grid.nx).astype(np.int64)
    out = np.zeros((grid.ny, grid.nx), dtype=np.uint8)
    if not len(row):
        return out
    # Outside the crossings nothing is covered: rays enter a polygon as often as they leave it.
    low, left = row.min(), first.min()
    rows, columns = row.max() + 1 - low, first.max() + 1 - left
    crossings = np.bincount((row - low) * columns + first - left, minlength=rows * columns)
    covered = crossings.astype(np.uint8).reshape(rows, columns).cumsum(axis=1, dtype=np.uint8) & 1
    out[low : low + rows, left : left + columns] = covered[:, : grid.nx - left]
    return out
