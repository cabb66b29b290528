"""Vector maps against the devkit's own reader and drawing, and against shapely."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from nuscenes.map_expansion.map_api import NuScenesMap
from shapely.geometry import Point, Polygon

from bevlite.data.augment import BEVAugmentation, bev_matrix
from bevlite.data.classes import MAP_CLASSES
from bevlite.data.vector_map import MAP_GRID, draw_map, fill_polygon, map_file, read_vector_map
from bevlite.errors import DataError
from bevlite.grid import BEVGrid
from tests.expansion import crossroads


def rotated(yaw: float, x: float, y: float, tilt: float = 0.0) -> np.ndarray:
    """Ego to global: yaw, then a pitch, at (x, y)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    pitch = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn @ pitch, (x, y, 1.0)
    return matrix


def test_a_filled_polygon_is_what_shapely_says() -> None:
    rng = np.random.default_rng(0)
    grid = BEVGrid(x_range_m=(-10, 10), y_range_m=(-6, 6), cell_m=0.5)
    x = grid.x_range_m[0] + (np.arange(grid.nx) + 0.5) * grid.cell_m
    y = grid.y_range_m[0] + (np.arange(grid.ny) + 0.5) * grid.cell_m
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 11))
        reach = rng.uniform(2, 14, 11)
        outline = np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1) + rng.normal(0, 2, 2)
        hole = outline.mean(axis=0) + 0.2 * (outline - outline.mean(axis=0))
        inside = shapely.contains_xy(Polygon(outline, [hole]), *np.meshgrid(x, y))
        polygon = Polygon(outline, [hole])
        if polygon.is_valid:
            np.testing.assert_array_equal(fill_polygon([outline, hole], grid), inside)


def test_the_classes_lie_where_the_devkit_draws_them(tmp_path: Path) -> None:
    """The devkit cuts corners off to whole pixels and draws outlines, of holes too: cells differ near borders alone."""
    file = crossroads().write(tmp_path / map_file("boston-seaport"))
    theirs = NuScenesMap(str(tmp_path), "boston-seaport")  # it takes the names of real places alone
    yaw, at = 0.7, (203.0, 197.0)
    size = MAP_GRID.x_range_m[1] - MAP_GRID.x_range_m[0]
    layers = [layer for layers in MAP_CLASSES.values() for layer in layers]
    canvas = (MAP_GRID.ny, MAP_GRID.nx)
    masks = theirs.get_map_mask((*at, size, size), np.degrees(yaw), layers, canvas)
    by_layer = dict(zip(layers, masks, strict=True))
    mine = draw_map(read_vector_map(file), np.linalg.inv(rotated(yaw, *at)))
    for name, found in zip(MAP_CLASSES, mine, strict=True):
        # Rows of a devkit mask go along the patch's y, columns along its x: as ours.
        wanted = np.max([by_layer[layer] for layer in MAP_CLASSES[name]], axis=0)
        assert wanted.any() and found.any(), name
        grown = _grown(wanted)
        shrunk = 1 - _grown(_grown(1 - wanted))
        assert not (found & ~grown.astype(bool)).any(), name
        assert not (shrunk & ~found.astype(bool)).any(), name


def _grown(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1)
    shifts = [padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
              for dy in (-1, 0, 1) for dx in (-1, 0, 1)]  # fmt: skip
    grown: np.ndarray = np.max(shifts, axis=0)
    return grown


@pytest.mark.parametrize("seed", range(3))
def test_the_map_moves_as_points_do(tmp_path: Path, seed: int) -> None:
    """Augmented by turning, mirroring and scaling, seen by a car that pitches."""
    shapes = read_vector_map(crossroads().write(tmp_path / "a.json"))
    bev = bev_matrix(BEVAugmentation(), np.random.default_rng(seed))
    pose = rotated(0.4, 195.0, 202.0)
    found = draw_map(shapes, bev @ np.linalg.inv(pose))
    tilted = draw_map(shapes, bev @ np.linalg.inv(rotated(0.4, 195.0, 202.0, tilt=0.02)))
    assert (found != tilted).mean() < 0.01
    crossing = Polygon(shapes["ped_crossing"].polygons[0][0])
    to_map = pose @ np.linalg.inv(bev)
    rng = np.random.default_rng(seed)
    checked = 0
    for iy, ix in rng.integers(0, 200, (4000, 2)):
        centre = np.array([-50 + (ix + 0.5) * 0.5, -50 + (iy + 0.5) * 0.5, 0.0, 1.0])
        where = Point((to_map @ centre)[:2])
        if crossing.boundary.distance(where) > 1e-6:
            assert bool(found[1, iy, ix]) == crossing.contains(where)
            checked += crossing.contains(where)
    assert checked > 5


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: the vector map is missing"):
        read_vector_map(tmp_path / "none.json")
    whole = json.dumps(crossroads().content)
    broken = {
        "cut.json": whole[:-40],
        "list.json": "[]",
        "layer.json": whole.replace('"walkway":', '"walk_way":'),
        "node.json": whole.replace('"n3"', '"nowhere"', 1),
        "nan.json": whole.replace('"x": 140.0', '"x": NaN', 1),
        "words.json": whole.replace('"x": 140.0', '"x": "far"', 1),
    }
    for name, text in broken.items():
        (tmp_path / name).write_text(text)
        assert text != whole
        with pytest.raises(DataError, match=rf"{name}: (the vector map cannot be read|found no mapping)"):
            read_vector_map(tmp_path / name)


def test_polygons_over_the_border_are_filled_as_on_a_larger_grid() -> None:
    rng = np.random.default_rng(9)
    grid = BEVGrid(x_range_m=(-10.0, 10.0), y_range_m=(-6.0, 6.0), cell_m=0.5)
    wide = BEVGrid(x_range_m=(-70.0, 70.0), y_range_m=(-66.0, 66.0), cell_m=0.5)
    covered = []
    for reach in (1.0, 5.0, 20.0) * 20:
        rings = [rng.uniform(-reach, reach, (rng.integers(3, 9), 2)) + rng.uniform(-10, 10, 2) for _ in range(2)]
        found = fill_polygon(rings, grid)
        assert found.shape == (grid.ny, grid.nx) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, fill_polygon(rings, wide)[120 : 120 + grid.ny, 120 : 120 + grid.nx])
        centre = np.stack(np.meshgrid(-9.75 + 0.5 * np.arange(grid.nx), -5.75 + 0.5 * np.arange(grid.ny)), axis=-1)
        odd = np.zeros(found.shape, dtype=bool)
        for ring in rings:
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                meets = (y0 <= centre[..., 1]) != (y1 <= centre[..., 1])
                odd ^= meets & (x0 + (centre[..., 1] - y0) / (y1 - y0) * (x1 - x0) <= centre[..., 0])
        np.testing.assert_array_equal(found, odd)
        covered.append(found.mean())
    assert min(covered) == 0 and max(covered) > 0.2
