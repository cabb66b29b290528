"""The vector map of version 2, as the official devkit reads it, against the ground that was painted."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from nuscenes.map_expansion import map_api
from nuscenes.map_expansion.arcline_path_utils import discretize_lane

from bevlite.data.classes import MAP_CLASSES
from bevlite.simulation.world import materials as m
from bevlite.simulation.world.generate import WorldSummary
from bevlite.simulation.world.layout import make_layout
from bevlite.simulation.world.paint import _place
from bevlite.simulation.world.path import STEP
from bevlite.simulation.world.rules import V2
from bevlite.simulation.world.scene import SceneMaker
from bevlite.simulation.world.statistics import measure

CROSSING = (m.GROUND_CROSSING, m.GROUND_CROSSING_GAP)
ROAD = tuple(code for code in m.DRIVEABLE_GROUND if code not in (m.GROUND_CARPARK, m.GROUND_BAY))
# What each layer covers, by the codes of the ground.
CODES = {
    "drivable_area": m.DRIVEABLE_GROUND,
    "road_segment": ROAD,
    "ped_crossing": CROSSING,
    "walkway": (m.GROUND_SIDEWALK, m.GROUND_KERB),
    "stop_line": (m.GROUND_STOP_LINE,),
    "carpark_area": (m.GROUND_CARPARK, m.GROUND_BAY),
}


@pytest.fixture(scope="module")
def vector_map(small_world: WorldSummary, nusc: Any) -> Any:
    """The devkit's map of the first scene."""
    return devkit_map(small_world, nusc, nusc.scene[0])


def devkit_map(small_world: WorldSummary, nusc: Any, scene: dict[str, Any]) -> Any:
    """The devkit knows four cities by name: it is lent one more, and the read map takes the name of one of them."""
    location = nusc.get("log", scene["log_token"])["location"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_api, "locations", [*map_api.locations, location])
        read = map_api.NuScenesMap(str(small_world.root), location)
    read.map_name = "boston-seaport"
    return read


def square(maker: SceneMaker, half: float) -> tuple[float, float, np.ndarray]:
    """Whole metres near the ego, and the ground codes of the square that reaches `half` m around them."""
    x, y, _ = (round(v) for v in maker.ego(0.5).translation)
    cells = round(half * 10)
    return x, y, maker.stage.layout.ground[y * 10 - cells : y * 10 + cells, x * 10 - cells : x * 10 + cells]


def masks(vector_map: Any, x: float, y: float, half: float, layers: list[str]) -> np.ndarray:
    size = round(half * 20)
    return np.asarray(vector_map.get_map_mask((x, y, 2 * half, 2 * half), 0.0, layers, (size, size))) > 0


def test_polygons_are_the_painted_ground(vector_map: Any, maker: SceneMaker) -> None:
    x, y, ground = square(maker, 60.0)
    found = masks(vector_map, x, y, 60.0, list(CODES))
    for mask, (layer, codes) in zip(found, CODES.items(), strict=True):
        painted = np.isin(ground, codes)
        assert painted.sum() > 100, layer
        overlap = (mask & painted).sum() / (mask | painted).sum()
        # The devkit fills polygons with their outlines, half a cell of 0.1 m too much on every side.
        assert overlap > (0.75 if layer == "stop_line" else 0.93), (layer, overlap)


def test_lanes_lie_in_the_road(vector_map: Any, maker: SceneMaker) -> None:
    x, y, _ = square(maker, 60.0)
    lane, road = masks(vector_map, x, y, 60.0, ["lane", "road_segment"])
    assert lane.sum() > 0.3 * road.sum() and (lane & ~road).sum() < 0.02 * lane.sum()


def test_dividers_are_where_lines_are_painted(vector_map: Any, maker: SceneMaker) -> None:
    from scipy.ndimage import distance_transform_edt

    x, y, ground = square(maker, 60.0)
    drawn = masks(vector_map, x, y, 60.0, ["road_divider", "lane_divider"]).any(0)
    painted = np.isin(ground, (m.GROUND_WORN_WHITE, m.GROUND_WORN_YELLOW))
    assert painted.sum() > 500
    assert (distance_transform_edt(~drawn)[painted] / 10).max() < 0.35  # lines are 0.14 m wide
    # Dashes leave 6 m unpainted at a time, the last one before a crossing too; a median is a divider without paint.
    known = painted | (ground == m.GROUND_MEDIAN)
    unpainted = distance_transform_edt(~known)[drawn] / 10
    assert unpainted.max() < 6.2 and unpainted.mean() < 1.2


def test_the_schema_is_the_official_one(small_world: WorldSummary, nusc: Any) -> None:
    for scene in nusc.scene:
        location = nusc.get("log", scene["log_token"])["location"]
        assert location == f"generated-{scene['name']}"
        content = json.loads((small_world.root / "maps" / "expansion" / f"{location}.json").read_text())
        assert set(content) == {
            *("version", "polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane"),
            *("ped_crossing", "walkway", "stop_line", "carpark_area", "road_divider", "lane_divider"),
            *("traffic_light", "canvas_edge", "connectivity", "arcline_path_3", "lane_connector"),
        }
        tokens = [row["token"] for layer in content.values() if isinstance(layer, list) for row in _rows(layer)]
        assert len(tokens) == len(set(tokens))
        mask = nusc.get("map", nusc.get("log", scene["log_token"])["map_token"])["mask"].mask()
        assert content["canvas_edge"] == pytest.approx([mask.shape[1] / 10, mask.shape[0] / 10])


def _rows(layer: list[Any]) -> list[dict[str, Any]]:
    return [row for row in layer if isinstance(row, dict)]


def test_stop_lines_know_their_crossing(vector_map: Any) -> None:
    from shapely import distance

    assert vector_map.stop_line
    for line in vector_map.stop_line:
        (crossing,) = line["cue"]
        polygons = [vector_map.extract_polygon(row["polygon_token"]) for row in (line, crossing)]
        assert all(polygon.is_valid for polygon in polygons)
        assert 0.3 < distance(*polygons) < 1.2


def test_lane_centres_join_into_ways(vector_map: Any, maker: SceneMaker) -> None:
    """The devkit's discretised lanes run in their polygons, in the direction of traffic, end to start."""
    layout = maker.stage.layout
    joined = 0
    for lane in vector_map.lane:
        arcs = vector_map.arcline_path_3[lane["token"]]
        polygon = vector_map.extract_polygon(lane["polygon_token"])
        poses = np.array(discretize_lane(arcs, 1.0))
        assert polygon.is_valid and polygon.buffer(0.05).contains(map_api.LineString(poses[:, :2]))
        for pose in poses[:: max(1, len(poses) // 4)]:
            s, d = _place(*pose[:2], layout.path.x, layout.path.y, layout.path.heading, layout.path.start, STEP)
            heading = layout.path.at(s, 0.0)[2]
            along = np.cos(pose[2] - heading)
            assert abs(along) < 0.02 or (along > 0.99) == (d < 0)
        for after in vector_map.connectivity[lane["token"]]["outgoing"]:
            start = vector_map.arcline_path_3[after][0]["start_pose"]
            assert np.allclose(start[:2], arcs[-1]["end_pose"][:2], atol=0.01)
            joined += 1
    assert joined >= 2


def test_places_along_the_road_are_found_again() -> None:
    """(s, d) -> (x, y) is closed; the painter's way back agrees to a hundredth of a millimetre."""
    layout = make_layout(np.random.default_rng(5), 60.0, V2)
    path, rng = layout.path, np.random.default_rng(0)
    for _ in range(300):
        s, d = rng.uniform(path.start, path.end), rng.uniform(-60, 60)
        x, y, _ = path.at(s, d)
        found = _place(float(x), float(y), path.x, path.y, path.heading, path.start, STEP)
        back = path.at(*found)
        assert np.hypot(back[0] - x, back[1] - y) < 1e-5 and abs(found[1] - d) < 1e-4


def test_most_streets_have_all_six_classes() -> None:
    whole = 0
    for seed in range(6):
        layout = make_layout(np.random.default_rng(seed), 60.0, V2)
        assert layout.plan is not None
        near = {area.layer for area in layout.plan.areas if area.s[0] < 110 and area.s[1] > -50}
        near |= {line.layer for line in layout.plan.lines}
        whole += all(near & set(layers) for layers in MAP_CLASSES.values())
    assert whole >= 5


def test_shares_are_what_the_devkit_draws(small_world: WorldSummary, nusc: Any) -> None:
    """Areas of the statistics table against masks of the devkit, cell by cell."""
    shares = measure(small_world.root).map_share
    counted = dict.fromkeys(shares, 0.0)
    for scene in nusc.scene:
        read = devkit_map(small_world, nusc, scene)
        for sample in (s for s in nusc.sample if s["scene_token"] == scene["token"]):
            pose = nusc.get("ego_pose", nusc.get("sample_data", sample["data"]["LIDAR_TOP"])["ego_pose_token"])
            yaw = np.degrees(map_api.Quaternion(pose["rotation"]).yaw_pitch_roll[0])
            layers = [layer for layers in MAP_CLASSES.values() for layer in layers]
            box = (*pose["translation"][:2], 100.0, 100.0)
            found = dict(zip(layers, read.get_map_mask(box, yaw, layers, (200, 200)) > 0, strict=True))
            for name, parts in MAP_CLASSES.items():
                counted[name] += np.any([found[layer] for layer in parts], axis=0).mean() / len(nusc.sample)
    for name, share in shares.items():
        # Polygons are drawn with their outline: thin ones come out wider at 0.5 m a cell.
        assert 0.5 * share < counted[name] < 2.0 * share + 0.001, name
        assert abs(share - counted[name]) < 0.03, name
