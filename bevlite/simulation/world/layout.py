"""What stands still: roads and their markings, pavements, buildings, trees, clutter.

Everything is placed along the road in (s, d): s metres along the centre line, d metres to its left. Traffic
keeps to the right, so that d < 0 goes with the line and d > 0 against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from numba import njit

from bevlite.simulation.world import materials as m
from bevlite.simulation.world import street
from bevlite.simulation.world.constants import OCC_MANMADE, OCC_OTHERS, OCC_VEGETATION
from bevlite.simulation.world.mesh import Mesh
from bevlite.simulation.world.paint import paint
from bevlite.simulation.world.path import Path, make_path
from bevlite.simulation.world.rules import StreetRules, WorldRules
from bevlite.simulation.world.street_plan import LANE, Carpark, Crosswalk, Street, StreetPlan, plan_street

GROUND_RESOLUTION = 0.1
_REACH = 75.0  # how far the ground is drawn to each side of the centre line
_OTHERS = {"bin", "rack", "container"}
_PLANTS = {"hedge"}


@dataclass(frozen=True)
class Thing:
    """A thing that stands still: mesh, place (x, y, yaw), footprint (length, width), occupancy class."""

    kind: str
    mesh: Mesh
    x: float
    y: float
    yaw: float
    footprint: tuple[float, float]
    occupancy: int


@dataclass
class Layout:
    """A scene without its agents; coordinates are the scene's global frame (metres, all positive)."""

    path: Path
    street: Street
    ground: npt.NDArray[np.uint8]  # (rows = y, columns = x) of ground codes, origin at (0, 0)
    things: list[Thing] = field(default_factory=list)
    plan: StreetPlan | None = None  # what the ground was painted from, in versions with a vector map


@njit(cache=True)
def _paint_ground(  # type: ignore[no-untyped-def]
    ground,
    start,
    step,
    xs,
    ys,
    hs,
    lane_edge,
    half,
    pavement,
    verge,
    lanes,
    lane,
    median,
    cross,
    plots,
    reach,
):
    """Write ground codes along the road: for every (s, d) on a fine grid, the code of its place."""
    rows, columns = ground.shape
    fine = 0.06
    n_d = int(2 * reach / fine)
    for i in range(len(xs)):
        s = start + step * i
        cos, sin = np.cos(hs[i]), np.sin(hs[i])
        near, edge = 1e9, 0.0
        for k in range(cross.shape[0]):
            gap = abs(s - cross[k, 0]) - cross[k, 1]
            if gap < near:
                near, edge = gap, cross[k, 1]
        plot = plots[int((s - start) / 12.0) % len(plots)]
        for j in range(n_d):
            d = -reach + fine * j
            a = abs(d)
            code = 0
            if a < half:
                code = 1
                if median and a < 0.6:
                    code = 6
                elif near > 0:
                    if (not median) and a < 0.07 and (s % 1.0 < 2.0):
                        code = 3
                    for q in range(1, lanes):
                        centre = q * lane + (0.6 if median else 0.0)
                        if abs(a - centre) < 0.07 and s % 9.0 < 3.0:
                            code = 2
                    if abs(a - lane_edge) < 0.07 and half - lane_edge > 1.0:
                        code = 2
                    if 1.0 < near < 4.0 and d % 1.2 < 0.6 and not (median and a < 0.6):
                        code = 2
                    if 5.0 < near < 5.4 and ((d < 0 and s < cross[0, 0]) or (d > 0 and s > cross[0, 0])):
                        code = 2
                elif median:
                    code = 1
            elif near < 0:
                code = 1
                if abs(near + edge) < 0.07 and a > half + 3:
                    code = 3
            elif near < pavement and a >= half:
                code = 5 if near < 0.18 else 4
            elif a < half + pavement:
                code = 5 if a < half + 0.18 else 4
            elif a < half + pavement + verge:
                code = 0
            else:
                code = plot if a < half + pavement + verge + 22.0 else 0
            c = int((xs[i] - d * sin) / 0.1)
            r = int((ys[i] + d * cos) / 0.1)
            if 0 <= r < rows and 0 <= c < columns:
                ground[r, c] = code


def _occupancy(kind: str) -> int:
    if kind in _OTHERS:
        return OCC_OTHERS
    return OCC_VEGETATION if kind in _PLANTS else OCC_MANMADE


class _Placer:
    def __init__(self, rng: np.random.Generator, path: Path, street_: Street) -> None:
        self.rng, self.path, self.street = rng, path, street_
        self.things: list[Thing] = []

    def put(self, kind: str, mesh: Mesh, s: float, d: float, turn: float, occupancy: int) -> None:
        x, y, heading = self.path.at(s, d)
        points = mesh.triangles.reshape(-1, 3)
        size = points.max(0) - points.min(0)
        footprint = (float(size[0]), float(size[1]))
        self.things.append(Thing(kind, mesh, float(x), float(y), float(heading) + turn, footprint, occupancy))

    def buildings(self) -> None:
        rng, st = self.rng, self.street
        for side in (-1.0, 1.0):
            s = self.path.start
            while s < self.path.end:
                length = float(rng.uniform(10, 30))
                middle = s + length / 2
                gap = float(rng.uniform(1.5, 9))
                blocked = st.on_carpark(middle, side, length / 2 + 1.0)
                if blocked or st.is_crossing(middle, length / 2 + st.pavement + 1.0):
                    s += 3.0
                    continue
                depth, height = float(rng.uniform(9, 20)), float(rng.choice([4, 7, 10, 13, 19, 28]))
                setback = float(rng.uniform(0.5, 7))
                if rng.random() < 0.75:
                    d = side * (st.building_line + setback + depth / 2)
                    turn = 0.0 if side > 0 else np.pi
                    mesh = street.building(rng, length, depth, height)
                    self.put("building", mesh, middle, d, turn, OCC_MANMADE)
                    if setback > 3 and rng.random() < 0.5:
                        d = side * (st.building_line + 0.4)
                        self.put("wall", street.wall(rng, length), middle, d, 0.0, OCC_MANMADE)
                else:  # a small park
                    for _ in range(int(rng.integers(2, 6))):
                        d = side * (st.building_line + rng.uniform(2, 18))
                        at = middle + rng.uniform(-length / 2, length / 2)
                        self.put("tree", street.tree(rng), at, d, rng.uniform(0, 6), OCC_VEGETATION)
                s += length + gap
            s = self.path.start
            while s < self.path.end:  # the skyline
                length = float(rng.uniform(18, 40))
                if not st.is_crossing(s + length / 2, length / 2 + 2) and rng.random() < 0.7:
                    mesh = street.building(rng, length, 18.0, float(rng.uniform(12, 50)))
                    self.put("building", mesh, s + length / 2, side * 62.0, 0.0, OCC_MANMADE)
                s += length + float(rng.uniform(2, 15))

    def greenery(self) -> None:
        rng, st = self.rng, self.street
        spacing = float(rng.uniform(9, 20))
        lamps = float(rng.uniform(25, 35))
        for side in (-1.0, 1.0):
            outer = side * (st.half_width + st.pavement + 0.5)
            for s in np.arange(self.path.start, self.path.end, spacing):
                if not st.is_crossing(float(s), st.pavement + 1.5) and rng.random() < 0.6:
                    self.put("tree", street.tree(rng), float(s), outer, rng.uniform(0, 6), OCC_VEGETATION)
            for s in np.arange(self.path.start + 5, self.path.end, lamps):
                if not st.is_crossing(float(s), 1.0):
                    turn = np.pi if side > 0 else 0.0
                    self.put("lamp", street.lamp_post(), float(s), side * (st.half_width + 0.45), turn, OCC_MANMADE)

    def clutter(self, density_of: Mapping[str, float]) -> None:
        rng, st = self.rng, self.street
        length = self.path.end - self.path.start
        for kind, density in density_of.items():
            for _ in range(int(rng.poisson(density * length / 150.0))):
                side = float(rng.choice([-1.0, 1.0]))
                s = float(rng.uniform(self.path.start, self.path.end))
                if st.is_crossing(s, st.pavement + 2.0):
                    continue
                # By the kerb or by the plots: the way between is for walking.
                if kind == "container":
                    inside, turn = st.building_line + 1.3, 0.0
                elif kind == "hedge":
                    inside, turn = st.half_width + st.pavement + 1.0, 0.0
                elif kind == "billboard":
                    inside, turn = st.half_width + st.pavement + 2.6, rng.normal(0, 0.15)
                elif rng.random() < 0.5:
                    inside, turn = st.half_width + 0.5, rng.normal(0, 0.2)
                else:
                    inside, turn = st.half_width + st.pavement - 0.2, rng.normal(0, 0.2)
                if kind == "billboard":
                    turn = turn + rng.choice([0.0, np.pi])
                elif kind in ("planter",):
                    turn = turn + np.pi / 2
                self.put(kind, street.clutter(kind, rng), s, side * inside, float(turn), _occupancy(kind))


def _crosswalks(rng: np.random.Generator, rules: StreetRules, st: Street, start: float, end: float) -> list[Crosswalk]:
    """Pedestrian crossings between the crossing streets."""
    if rules.mid_crossing_gap is None:
        return []
    found, at = [], start + float(rng.uniform(*rules.mid_crossing_gap))
    while at < end - 8:
        zebra, stop = bool(rng.random() < rules.zebra_share), bool(rng.random() < rules.stop_share)
        if not st.is_crossing(at, 16.0):
            found.append(Crosswalk(at, float(rng.uniform(1.4, 2.1)), zebra, stop))
        at += float(rng.uniform(*rules.mid_crossing_gap))
    return found


def _carparks(rng: np.random.Generator, rules: StreetRules, st: Street, start: float, end: float) -> list[Carpark]:
    """Car parks on both sides, clear of the crossing streets."""
    if rules.carpark_gap is None:
        return []
    found = []
    for side in (-1.0, 1.0):
        at = start + float(rng.uniform(0.0, rules.carpark_gap[1]))
        while True:
            length = 2.5 * float(rng.integers(8, 17))
            if at + length > end:
                break
            if st.is_crossing(at + length / 2, length / 2 + st.pavement + 0.5):
                at += 4.0
                continue
            drive = at + 4.0 if rng.random() < 0.5 else at + length - 4.0
            found.append(Carpark((at, at + length), side, drive))
            at += length + float(rng.uniform(*rules.carpark_gap))
    return found


def make_layout(rng: np.random.Generator, travel: float, rules: WorldRules) -> Layout:
    """A road for an ego that starts at s = 0 and drives `travel` metres, with all that stands beside it."""
    path = make_path(rng, -110.0, travel + 130.0)
    # The global frame is positive everywhere, because nuScenes' map masks start at (0, 0).
    x, y = path.x - path.x.min() + 100.0, path.y - path.y.min() + 100.0
    path = Path(path.start, x, y, path.heading)
    lanes = int(rng.choice([1, 2], p=[0.6, 0.4]))
    crossings: list[tuple[float, float]] = []
    at = float(rng.uniform(*rules.streets.first_junction))
    while at < path.end - 20 and len(crossings) < rules.streets.most_junctions:
        crossings.append((at, float(rng.choice([3.6, 4.5, 7.0]))))
        at += float(rng.uniform(*rules.streets.junction_gap))
    st = Street(
        lanes=lanes,
        parking=2.4 if rng.random() < 0.75 else 0.0,
        pavement=float(rng.uniform(2.8, 4.5)),
        verge=float(rng.uniform(0.8, 3.0)),
        median=bool(lanes == 2 and rng.random() < 0.5),
        crossings=tuple(crossings),
    )
    walks = _crosswalks(rng, rules.streets, st, path.start, path.end)
    parks = _carparks(rng, rules.streets, st, path.start, path.end)
    st = replace(st, crosswalks=tuple(walks), carparks=tuple(parks))
    shape = int((y.max() + 100) / GROUND_RESOLUTION), int((x.max() + 100) / GROUND_RESOLUTION)
    plots = rng.choice([m.GROUND_TERRAIN, m.GROUND_PLAZA, m.GROUND_DIRT], size=64, p=[0.5, 0.35, 0.15])
    plan = None
    if rules.streets.expansion:
        plan = plan_street(st, path.start, path.end, [int(code) for code in plots])
        ground = paint(plan, path, shape, GROUND_RESOLUTION)
    else:
        ground = _painted_by_rule(path, st, shape, plots)
    placer = _Placer(rng, path, st)
    placer.buildings()
    placer.greenery()
    placer.clutter(rules.clutter)
    return Layout(path, st, ground, placer.things, plan)


def _painted_by_rule(
    path: Path, st: Street, shape: tuple[int, int], plots: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """The ground of version 1: no plan, a rule for every (s, d)."""
    ground = np.zeros(shape, np.uint8)
    fine = np.arange(path.start, path.end, 0.06)
    xs, ys, hs = path.at(fine, 0.0)
    _paint_ground(
        ground,
        path.start,
        0.06,
        xs,
        ys,
        hs,
        st.lane_edge,
        st.half_width,
        st.pavement,
        st.verge,
        st.lanes,
        LANE,
        st.median,
        np.array(st.crossings, dtype=np.float64).reshape(-1, 2),
        plots.astype(np.uint8),
        _REACH,
    )
    return ground
