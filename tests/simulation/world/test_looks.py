"""Version 2: what the LiDAR cannot tell apart and the camera can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import uniform_filter
from scipy.stats import ks_2samp, rankdata

from bevlite.simulation.world import boxes, materials, people, street
from bevlite.simulation.world.agents import plan_ego
from bevlite.simulation.world.cast import make_cast
from bevlite.simulation.world.decoys import FAMILY, disguise
from bevlite.simulation.world.layout import make_layout
from bevlite.simulation.world.mesh import Mesh
from bevlite.simulation.world.pictures import Pictures
from bevlite.simulation.world.rules import V1, V2
from bevlite.simulation.world.scene import SceneMaker
from bevlite.simulation.world.stage import together
from bevlite.simulation.world.weather import make_weather

PAINT = (2, 3, 9, 10, 12, 14, 15)
ASPHALT = (materials.GROUND_ASPHALT, materials.GROUND_CROSSING_GAP)
PAVEMENT = (materials.GROUND_SIDEWALK,)


def auc(high: np.ndarray, low: np.ndarray) -> float:
    """How often a value of `high` is above one of `low`."""
    ranks = rankdata(np.concatenate([high, low]))[: len(high)]
    return float((ranks.sum() - len(high) * (len(high) + 1) / 2) / (len(high) * len(low)))


def ground_returns(maker: SceneMaker) -> tuple[np.ndarray, np.ndarray]:
    """Intensity at right angles and ground code of the returns of a few sweeps, 4 to 25 m away."""
    intensity, codes = [], []
    for t in (0.0, 0.5, 1.0):
        ego = maker.ego(t)
        x, y, _ = ego.translation
        triangles = together(maker.stage.moving(t), maker.stage.still(x, y, 120.0))
        points, owner = maker.lidar.sweep(triangles, ego, np.random.default_rng(0))
        away = np.hypot(points[:, 0], points[:, 1])
        points = points[(owner == -2) & (away > 4) & (away < 25)]
        xyz = (ego @ maker.rig.lidar).apply(points[:, :3].astype(np.float64))
        codes.append(maker.stage.layout.ground[(xyz[:, 1] * 10).astype(int), (xyz[:, 0] * 10).astype(int)])
        distance = np.linalg.norm(points[:, :3], axis=1)
        intensity.append(points[:, 3] / np.sqrt(maker.rig.lidar.translation[2] / distance))
    return np.concatenate(intensity), np.concatenate(codes)


def test_intensity_does_not_tell_paint_from_asphalt(maker: SceneMaker, maker_of_version_1: SceneMaker) -> None:
    for made, low, high in ((maker, 0.4, 0.65), (maker_of_version_1, 0.95, 1.0)):
        intensity, codes = ground_returns(made)
        paint, asphalt = intensity[np.isin(codes, PAINT)], intensity[np.isin(codes, ASPHALT)]
        assert min(len(paint), len(asphalt)) > 150
        assert low <= auc(paint, asphalt) <= high
    assert all(abs(V2.lidar.ground[code] / 0.12 - 1) < 0.1 for code in (*PAINT, *ASPHALT, *PAVEMENT, 5, 6, 11, 13))


@pytest.mark.parametrize("weather", [name for name, _ in V2.weather])
def test_colour_tells_the_ground(maker: SceneMaker, weather: str) -> None:
    """Paint and pavement are brighter than the asphalt beside them in the images, in every light."""
    t = 0.5
    pictures = Pictures(maker.stage, make_weather(np.random.default_rng(0), weather, V2))
    ego = maker.ego(t)
    x, y, _ = ego.translation
    still = maker.stage.still(x, y, 160.0)
    shadow = pictures.shadows(together(maker.stage.moving(t), still), x, y)
    brighter: dict[str, list[np.ndarray]] = {"paint": [], "pavement": []}
    for camera in (maker.rig.cameras[0], maker.rig.cameras[3]):
        picture = pictures.take(camera, ego, t, still, shadow, 1)
        row, col = np.nonzero((picture.triangle < 0) & (picture.inverse_depth > 1 / 20))
        depth = 1 / picture.inverse_depth[row, col]
        k = camera.intrinsic
        rays = np.stack([(col + 0.5 - k[0, 2]) / k[0, 0], (row + 0.5 - k[1, 2]) / k[1, 1], np.ones(len(row))], -1)
        xyz = (ego @ camera.pose).apply(rays * depth[:, None])
        code = np.full(picture.triangle.shape, -1)
        code[row, col] = maker.stage.layout.ground[(xyz[:, 1] * 10).astype(int), (xyz[:, 0] * 10).astype(int)]
        grey, asphalt = picture.image.mean(-1), np.isin(code, ASPHALT)
        share = uniform_filter(asphalt.astype(float), 25)
        beside = uniform_filter(grey * asphalt, 25) / np.maximum(share, 1e-9)
        for name, codes in (("paint", PAINT), ("pavement", PAVEMENT)):
            there = np.isin(code, codes) & (share > 0.1)
            brighter[name].append((grey > 1.15 * beside)[there])
    for found in brighter.values():
        assert sum(len(part) for part in found) > 50
        assert np.concatenate(found).mean() > 0.8


def originals() -> dict[str, Mesh]:
    rng = np.random.default_rng(3)
    return {
        "traffic_cone": street.traffic_cone(rng),
        "barrier": street.barrier(rng),
        "pedestrian": people.pedestrian(rng, True, V2.clothes),
        "truck": boxes.truck(rng),
        "bus": boxes.bus(rng),
        "trailer": boxes.trailer(rng),
    }


@pytest.mark.parametrize("name", FAMILY)
def test_a_decoy_is_the_same_to_a_lidar(name: str) -> None:
    mesh, rng = originals()[name], np.random.default_rng(0)
    for _ in range(5):
        other = disguise(name, mesh, rng)
        assert np.array_equal(other.triangles, mesh.triangles)
        assert np.array_equal(other.reflectivity, mesh.reflectivity)
        # One colour all over, that the object has hardly anywhere.
        assert np.ptp(other.colour, axis=0).max() == 0 and len(set(other.material)) == 1
        apart = np.abs(mesh.colour - other.colour).max(1) > 0.12
        assert apart.mean() > 0.3 and len(np.unique(mesh.colour, axis=0)) >= 2


def test_a_bus_a_trailer_and_a_container_have_one_shape() -> None:
    bus, trailer = (make(np.random.default_rng(1)) for make in (boxes.bus, boxes.trailer))
    assert np.array_equal(bus.triangles, trailer.triangles)
    assert V2.sizes["bus"] == V2.sizes["trailer"]
    draws = [[make(np.random.default_rng(k)).reflectivity for k in range(60)] for make in (boxes.bus, boxes.trailer)]
    # The hull's reflectivity is drawn from one distribution, whatever the paint.
    assert ks_2samp(*(np.median(np.array(one), axis=1) for one in draws)).pvalue > 0.01


def test_decoys_stand_where_objects_stand_and_are_as_large() -> None:
    pairs = (("pedestrian", "statue"), ("traffic_cone", "post"), ("barrier", "wall"))
    heights: dict[str, list[float]] = {name: [] for pair in pairs for name in pair}
    places: dict[str, list[float]] = {name: [] for pair in pairs for name in pair}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        plan = plan_ego(rng, 4.0)
        layout = make_layout(rng, float(plan.travelled[-1]), V2)
        cast = make_cast(rng, layout, plan, V2)
        # Who walks goes everywhere: decoys are beside those who stand, workers apart.
        standing = [a for a in cast.agents if np.ptp(a.track.x) == 0 and "worker" not in a.category]
        for name, mesh, x, y in [
            *((a.name, a.mesh, a.track.x[0], a.track.y[0]) for a in standing),
            *((t.kind, t.mesh, t.x, t.y) for t in cast.decoys),
        ]:
            if name in heights:
                heights[name].append(float(mesh.triangles[..., 2].max()))
                from_kerb = np.hypot(layout.path.x - x, layout.path.y - y).min() - layout.street.half_width
                places[name].append(float(from_kerb))
    for real, decoy in pairs:
        assert ks_2samp(heights[real], heights[decoy]).pvalue > 0.01
        assert 0.4 < len(heights[decoy]) / len(heights[real]) < 2.5
        # On the road side of the kerb as on the pavement.
        assert abs(np.mean(np.array(places[real]) < 0) - np.mean(np.array(places[decoy]) < 0)) < 0.25
        low, high = np.quantile(places[real], [0.02, 0.98])
        assert np.mean([low - 0.5 < at < high + 0.5 for at in places[decoy]]) > 0.9


def test_nothing_meets_a_decoy(maker: SceneMaker) -> None:
    from bevlite.simulation.world.motion import collides

    agents, things = maker.stage.cast.agents, maker.stage.cast.decoys
    count = len(agents[0].track.sparse())
    tracks = np.stack([np.tile([[t.x, t.y, t.yaw]], (count, 1)) for t in things])
    sizes = np.array([t.footprint for t in things])
    assert len(things) > 3
    for agent in agents:
        assert not collides(agent.track.sparse(), *agent.size[:2], tracks, sizes[:, 0], sizes[:, 1], -0.05)


def test_the_lidar_loses_more_far_away_than_in_version_1(maker: SceneMaker) -> None:
    """Returns by range with the range rules of both versions, against these in closed form."""
    from bevlite.simulation.world.lidar import Lidar

    ego = maker.ego(0.5)
    x, y, _ = ego.translation
    triangles = maker.stage.still(x, y, 120.0)
    ranges = []
    names = ("dropout_onset", "dropout_far", "dropout_far_most")
    by_range = replace(V1.lidar, **{name: getattr(V2.lidar, name) for name in names})
    for rules in (V1.lidar, by_range):
        lidar = Lidar(maker.rig.lidar, maker.stage.layout.ground, rules)
        points = [lidar.sweep(triangles, ego, np.random.default_rng(k))[0] for k in range(6)]
        ranges.append(np.linalg.norm(np.concatenate(points)[:, :3], axis=1))
    near, far = (
        np.divide(*[float(((r > a) & (r < b)).sum()) for r in reversed(ranges)]) for a, b in ((4, 8), (45, 55))
    )
    kept = [
        1 - min(rules.dropout_far * ((50 - rules.dropout_onset) / 100) ** 2, rules.dropout_far_most)
        for rules in (V1.lidar, V2.lidar)
    ]
    assert near == pytest.approx(1.0, abs=0.03)
    assert far == pytest.approx(kept[1] / kept[0], abs=0.06)
