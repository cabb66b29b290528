"""The cast of a scene: agents are placed one after another, each in the way that its class moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bevlite.simulation.world import people, street, vehicles
from bevlite.simulation.world.agents import CATEGORY, SIZES, Agent, Cast, EgoPlan
from bevlite.simulation.world.constants import BOX_MARGIN, DENSITY, DENSITY_SPREAD
from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.layout import Layout
from bevlite.simulation.world.mesh import Mesh
from bevlite.simulation.world.motion import Track, collides, distance

_VIEW = 75.0


class _Casting:
    """Places agents one after another; one that would meet another is refused and tried elsewhere."""

    def __init__(self, rng: np.random.Generator, layout: Layout, plan: EgoPlan) -> None:
        self.rng, self.layout, self.plan = rng, layout, plan
        self.times, st = plan.times, layout.street
        self.agents: list[Agent] = []
        self._tracks: list[Array] = []
        self._sizes: list[tuple[float, float]] = []
        self.s_low, self.s_high = float(plan.travelled.min()) - _VIEW, float(plan.travelled.max()) + _VIEW
        self.flows: dict[tuple[int, int], Array] = {}
        for lane in range(st.lanes):
            for direction in (1, -1):
                kind = str(rng.choice(["cruise", "start", "stop"], p=[0.75, 0.12, 0.13]))
                flow = distance(rng, self.times, kind, float(rng.uniform(4.0, 11.0)))
                self.flows[(lane, direction)] = flow * direction
        self.ego_lane = int(rng.integers(st.lanes))
        self.flows[(self.ego_lane, 1)] = plan.travelled
        self.ego = self.along(plan.travelled, -st.lane_centre(self.ego_lane))
        # The ego's origin is its rear axle: its body reaches further ahead than behind, and nobody comes
        # closer to it than about two metres.
        ahead = Track(self.ego.x + 1.4 * np.cos(self.ego.yaw), self.ego.y + 1.4 * np.sin(self.ego.yaw), self.ego.yaw)
        self._reserve(ahead, 8.7, 2.3)
        for thing in layout.things:
            if thing.kind != "tree":
                still = np.ones_like(self.times)
                track = Track(still * thing.x, still * thing.y, still * thing.yaw)
                self._reserve(track, *thing.footprint)
            else:  # a crown is above everybody's head; the trunk is not
                still = np.ones_like(self.times)
                self._reserve(Track(still * thing.x, still * thing.y, still * 0.0), 0.5, 0.5)

    def _reserve(self, track: Track, length: float, width: float) -> None:
        self._tracks.append(track.sparse())
        self._sizes.append((length, width))

    def along(self, s: Array, d: Array | float, turn: float = 0.0) -> Track:
        """A track at (s, d) that faces the road's direction plus `turn`."""
        x, y, heading = self.layout.path.at(s, d)
        return Track(x, y, np.unwrap(heading + turn))

    def still(self, s: float, d: float, turn: float) -> Track:
        """A track that stays."""
        return self.along(np.full_like(self.times, s), d, turn)

    def size(self, name: str, scale: float = 1.0) -> tuple[float, float, float]:
        """A random box size (l, w, h); long ones are a little wider and higher too."""
        (length, width, height), spread = SIZES[name]
        common = self.rng.normal(0, spread * 0.7)
        own = self.rng.normal(0, spread * 0.5, 3)
        factor = np.clip(1 + common + own, 0.7, 1.4) * scale
        return float(length * factor[0]), float(width * factor[1]), float(height * factor[2])

    def add(
        self,
        name: str,
        build: Callable[[], Mesh],
        size: tuple[float, float, float],
        track: Track,
        *,
        parked: bool = False,
        rider: bool = False,
        margin: float = 0.25,
        category: str | None = None,
    ) -> bool:
        """Add an agent unless it would meet something; says whether it was added."""
        sizes = np.array(self._sizes)
        tracks = np.stack(self._tracks)
        if collides(track.sparse(), size[0], size[1], tracks, sizes[:, 0], sizes[:, 1], margin):
            return False
        inner = (size[0] - 2 * BOX_MARGIN, size[1] - 2 * BOX_MARGIN, size[2])
        mesh = build().fitted(*inner)
        self.agents.append(Agent(name, category or CATEGORY[name], mesh, size, track, parked, rider))
        self._reserve(track, size[0], size[1])
        return True

    # --- vehicles -----------------------------------------------------------------------------------------

    def _flow_start(self, flow: Array, near: bool) -> float:
        """A place at time 0 from which a thing in this flow is in view at some time of the scene."""
        gap = self.plan.travelled - flow
        low, high = float(gap.min()), float(gap.max())
        if near:
            return float(self.rng.uniform(low - 30, high + 30))
        return float(self.rng.uniform(low - _VIEW, high + _VIEW))

    def _somewhere(self, near: bool, reach: float = 30.0) -> float:
        """A place along the road (m): within `reach` of the ego's way when it is to be near, else in view of it."""
        spread = reach if near else _VIEW
        return float(self.rng.uniform(self.s_low + _VIEW - spread, self.s_high - _VIEW + spread))

    def _mesh_of(self, name: str, rider: bool = False) -> Callable[[], Mesh]:
        rng = self.rng
        makers: dict[str, Callable[[], Mesh]] = {
            "car": lambda: vehicles.car(rng),
            "truck": lambda: vehicles.truck(rng),
            "bus": lambda: vehicles.bus(rng),
            "trailer": lambda: vehicles.trailer(rng),
            "construction_vehicle": lambda: vehicles.construction_vehicle(rng),
            "motorcycle": lambda: people.motorcycle(rng, rider),
            "bicycle": lambda: people.bicycle(rng, rider),
        }
        return makers[name]

    def driving(self, name: str, near: bool = False) -> bool:
        """A vehicle in a lane of the road, with the lane's flow."""
        st, rng = self.layout.street, self.rng
        lane, direction = int(rng.integers(st.lanes)), int(rng.choice([1, -1]))
        flow = self.flows[(lane, direction)]
        d = -direction * st.lane_centre(lane) + rng.normal(0, 0.15)
        turn = 0.0 if direction > 0 else np.pi
        s = self._flow_start(flow, near)
        rider = name in ("motorcycle", "bicycle")
        size = self.size(name)
        if rider:
            size = (size[0], size[1], size[2] + 0.2)
            d = d - direction * rng.uniform(0.2, 1.0) if name == "motorcycle" else d
        if name == "bicycle":
            d = -direction * (st.lane_edge - 0.5)
            flow = distance(rng, self.times, "cruise", float(rng.uniform(2.5, 5.5))) * direction
            s = self._flow_start(flow, near)
        track = self.along(s + flow, d, turn)
        if name != "trailer":
            return self.add(name, self._mesh_of(name, rider), size, track, rider=rider, margin=0.4)
        tractor = (float(rng.uniform(5.8, 6.6)), size[1], float(rng.uniform(2.9, 3.4)))
        ahead = direction * (size[0] / 2 + tractor[0] / 2 + 0.35)
        before = len(self.agents)
        if not self.add(name, self._mesh_of(name), size, track, margin=0.25):
            return False
        if not self.add("truck", self._mesh_of("truck"), tractor, self.along(s + flow + ahead, d, turn), margin=0.1):
            del self.agents[before:], self._tracks[-1:], self._sizes[-1:]
            return False
        return True

    def standing(self, name: str, near: bool = False) -> bool:
        """A vehicle that stands at the edge of the road, or on a plot where there is no parking strip."""
        st, rng = self.layout.street, self.rng
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near)
        size = self.size(name)
        turn = (0.0 if side < 0 else np.pi) + rng.normal(0, 0.03)
        if st.parking > 0:
            inner = max(st.lane_edge + 0.1 + size[1] / 2, st.half_width - size[1] / 2 - 0.15)
        else:
            inner = st.building_line + size[1] / 2 + rng.uniform(0.5, 6.0)
            turn = float(rng.choice([0.0, 0.5, 1.0])) * np.pi + rng.normal(0, 0.05)
        if name in ("motorcycle", "bicycle"):
            inner = st.half_width + (rng.uniform(0.5, 1.0) if rng.random() < 0.6 else st.pavement - 0.4)
            turn = turn + rng.normal(0, 0.6)
        if st.is_crossing(s, size[0] / 2 + 6.0):
            return False
        parked = not (name == "bus" and rng.random() < 0.7)
        track = self.still(s, side * inner, float(turn))
        return self.add(name, self._mesh_of(name), size, track, parked=parked, margin=0.2)

    def crossing(self, name: str, near: bool = False) -> bool:
        """A vehicle on a crossing street: it waits at the line, draws up to it, or drives away."""
        st, rng = self.layout.street, self.rng
        inside = [c for c in st.crossings if self.s_low < c[0] < self.s_high]
        if not inside:
            return False
        at, half = inside[int(rng.integers(len(inside)))]
        side = float(rng.choice([-1.0, 1.0]))
        size = self.size(name)
        line = st.half_width + 4.5 + size[0] / 2
        kind = str(rng.choice(["still", "stop", "away"], p=[0.4, 0.25, 0.35]))
        offset = half / 2 if half > 4 else half * 0.5
        if kind == "away":
            travelled = line + rng.uniform(0, 15) + distance(rng, self.times, "cruise", float(rng.uniform(3, 8)))
            d, lane = side * (travelled - travelled.min() + line), offset * side
            turn = side * np.pi / 2
        else:
            rest = line + rng.uniform(0, 1) + (rng.integers(0, 3) * 6.5)
            moved = distance(rng, self.times, kind, float(rng.uniform(3, 7)))
            d, lane = side * (rest + moved.max() - moved), -offset * side
            turn = -side * np.pi / 2
        track = self.along(np.full_like(self.times, at + lane), d, turn)
        return self.add(name, self._mesh_of(name, True), size, track, rider=True, margin=0.3)

    # --- people -------------------------------------------------------------------------------------------

    def pedestrian(self, near: bool = False) -> bool:
        """Somebody who walks along a pavement, stands on it, or crosses the road; sometimes two together."""
        st, rng = self.layout.street, self.rng
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near)
        kind = str(rng.choice(["walk", "stand", "cross"], p=[0.68, 0.22, 0.10]))
        child = rng.random() < 0.06
        size = self.size("pedestrian", 0.72 if child else 1.0)
        category = "human.pedestrian.child" if child else None
        d: Array | float = side * (st.half_width + rng.uniform(0.9, st.pavement - 0.5))
        walking = kind != "stand"
        speed = max(0.5, float(rng.normal(1.35, 0.25)))
        if kind == "walk":
            direction = float(rng.choice([-1.0, 1.0]))
            track = self.along(s + direction * speed * self.times, d, 0.0 if direction > 0 else np.pi)
        elif kind == "cross":
            start = side * (st.half_width + rng.uniform(-6, 2))
            track = self.along(np.full_like(self.times, s), start - side * speed * self.times, -side * np.pi / 2)
        else:
            track = self.still(s, float(d), float(rng.uniform(-np.pi, np.pi)))
        if kind != "cross" and st.is_crossing(s, st.pavement):
            return False
        added = self.add(
            "pedestrian", lambda: people.pedestrian(rng, walking), size, track, margin=0.12, category=category
        )
        if added and kind != "cross" and rng.random() < 0.35:
            beside = 0.85 * (1.0 if rng.random() < 0.5 else -1.0)
            normal = track.yaw + np.pi / 2
            friend = Track(track.x + beside * np.cos(normal), track.y + beside * np.sin(normal), track.yaw)
            other = self.size("pedestrian")
            self.add("pedestrian", lambda: people.pedestrian(rng, walking), other, friend, margin=0.08)
        return added

    # --- works --------------------------------------------------------------------------------------------

    def works(self, near: bool) -> tuple[int, int, int]:
        """Roadworks at the edge of the road; says how many barriers, cones and machines it got."""
        st, rng = self.layout.street, self.rng
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near)
        length = float(rng.uniform(10, 24))
        edge = st.lane_edge + (0.6 if st.parking > 0 else 1.2)
        if st.is_crossing(s + length / 2, length / 2 + 3):
            return 0, 0, 0
        barriers = cones = machines = 0
        size = self.size("construction_vehicle")
        moves = rng.random() < 0.25
        d = side * (edge + 0.6 + size[1] / 2)
        turn = float(rng.choice([0.0, np.pi])) + rng.normal(0, 0.25)
        track = self.still(s + length / 2, d, turn)
        if moves:
            turn = 0.0 if side < 0 else np.pi
            back = distance(rng, self.times, "cruise", 0.6) * (1.0 if side < 0 else -1.0)
            track = self.along(s + length / 2 + np.clip(back, -3, 3), d, turn)
        machines += self.add(
            "construction_vehicle", self._mesh_of("construction_vehicle"), size, track, parked=not moves
        )
        kind = str(rng.choice(["barriers", "both", "cones"], p=[0.35, 0.45, 0.2]))
        if kind != "cones":
            for at in np.arange(s, s + length, float(rng.uniform(2.7, 3.4))):
                size = self.size("barrier")
                turn = np.pi / 2 + rng.normal(0, 0.05)
                track = self.still(float(at), side * edge, turn)
                barriers += self.add("barrier", lambda: street.barrier(rng), size, track, parked=True, margin=0.02)
        if kind != "barriers":
            for at in np.arange(s - 8, s + (0 if kind == "both" else length), float(rng.uniform(1.8, 3.5))):
                size = self.size("traffic_cone")
                track = self.still(float(at), side * (edge + rng.normal(0, 0.15)), float(rng.uniform(0, 6)))
                cones += self.add("traffic_cone", lambda: street.traffic_cone(rng), size, track, margin=0.02)
        for _ in range(int(rng.integers(0, 3))):
            size = self.size("pedestrian")
            at = s + rng.uniform(0, length)
            track = self.still(float(at), side * (edge + rng.uniform(0.8, 3)), float(rng.uniform(-3, 3)))
            self.add(
                "pedestrian",
                lambda: people.pedestrian(rng, False),
                size,
                track,
                category="human.pedestrian.construction_worker",
            )
        return barriers, cones, machines

    def lone(self, name: str, near: bool = False) -> bool:
        """A cone or barrier on its own (or a short row), on the pavement or at the kerb."""
        st, rng = self.layout.street, self.rng
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near, 25.0)
        where = st.half_width + (rng.uniform(-0.6, -0.3) if rng.random() < 0.4 else rng.uniform(0.4, st.pavement))
        size = self.size(name)
        turn = float(rng.uniform(-np.pi, np.pi)) if name == "traffic_cone" else np.pi / 2 + rng.normal(0, 0.3)
        build = (lambda: street.traffic_cone(rng)) if name == "traffic_cone" else (lambda: street.barrier(rng))
        return self.add(name, build, size, self.still(s, side * where, float(turn)), parked=True, margin=0.05)


_WAYS: dict[str, tuple[tuple[str, float], ...]] = {
    "bus": (("driving", 0.6), ("standing", 0.4)),
    "trailer": (("driving", 0.5), ("standing", 0.5)),
    "truck": (("driving", 0.5), ("standing", 0.42), ("crossing", 0.08)),
    "motorcycle": (("driving", 0.5), ("standing", 0.4), ("crossing", 0.1)),
    "bicycle": (("driving", 0.45), ("standing", 0.55)),
    "car": (("driving", 0.45), ("standing", 0.40), ("crossing", 0.15)),
}


def make_cast(rng: np.random.Generator, layout: Layout, plan: EgoPlan) -> Cast:
    """The agents of a scene: each of the ten classes is near the ego's way at least once."""
    casting = _Casting(rng, layout, plan)
    length = casting.s_high - casting.s_low
    share = length / 150.0 * np.exp(rng.normal(0, DENSITY_SPREAD, len(DENSITY)) - DENSITY_SPREAD**2 / 2)
    wanted = {name: int(rng.poisson(DENSITY[name] * f)) for name, f in zip(DENSITY, share, strict=True)}

    barriers, cones, machines = 0, 0, 0
    for _ in range(12):
        enough = barriers >= wanted["barrier"] or cones >= wanted["traffic_cone"]
        if machines and (enough or machines >= wanted["construction_vehicle"]):
            break
        got = casting.works(near=machines == 0)
        barriers, cones, machines = barriers + got[0], cones + got[1], machines + got[2]

    for way in ("standing", "driving") * 20:
        if machines:
            break
        machines += getattr(casting, way)("construction_vehicle", near=True)

    for name, ways in _WAYS.items():
        placed, tries = 0, 0
        while placed < max(1, wanted[name]) and tries < 12 * (wanted[name] + 3) + (200 if not placed else 0):
            tries += 1
            way = str(rng.choice([w for w, _ in ways], p=[p for _, p in ways]))
            placed += getattr(casting, way)(name, near=placed == 0)
    for name, have in (("traffic_cone", cones), ("barrier", barriers)):
        placed, tries, close = have, 0, 0
        while (not close or placed < wanted[name]) and tries < 10 * (wanted[name] + 10):
            tries += 1
            added = casting.lone(name, near=not close)
            placed, close = placed + added, close + added
    placed, tries = 0, 0
    while placed < wanted["pedestrian"] and tries < 10 * (wanted["pedestrian"] + 2):
        tries += 1
        placed += casting.pedestrian(near=placed == 0)
    return Cast(casting.agents, casting.ego, plan.times)
