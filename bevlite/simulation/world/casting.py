"""Places agents and what looks like them, each in the way that its class moves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bevlite.simulation.world import boxes, people, street, vehicles
from bevlite.simulation.world.agents import CATEGORY, Agent, EgoPlan
from bevlite.simulation.world.constants import BOX_MARGIN, OCC_MANMADE, OCC_OTHERS
from bevlite.simulation.world.decoys import FAMILY, disguise
from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.layout import Layout, Thing
from bevlite.simulation.world.mesh import Mesh
from bevlite.simulation.world.motion import Track, collides, distance
from bevlite.simulation.world.rules import WorldRules
from bevlite.simulation.world.street_plan import BAY, bay_rows

_VIEW = 75.0


class Casting:
    """Places agents one after another; one that would meet another is refused and tried elsewhere."""

    def __init__(self, rng: np.random.Generator, layout: Layout, plan: EgoPlan, rules: WorldRules) -> None:
        self.rng, self.layout, self.plan, self.rules = rng, layout, plan, rules
        self.times, st = plan.times, layout.street
        self.agents: list[Agent] = []
        self.decoys: list[Thing] = []
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
        (length, width, height), spread = self.rules.sizes[name]
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
        decoy: bool = False,
    ) -> bool:
        """Add an agent, or a thing that looks like one, unless it would meet something; says whether it was added."""
        sizes = np.array(self._sizes)
        tracks = np.stack(self._tracks)
        if collides(track.sparse(), size[0], size[1], tracks, sizes[:, 0], sizes[:, 1], margin):
            return False
        inner = (size[0] - 2 * BOX_MARGIN, size[1] - 2 * BOX_MARGIN, size[2])
        mesh = build().fitted(*inner)
        if decoy:
            family = FAMILY[name]
            x, y, yaw = float(track.x[0]), float(track.y[0]), float(track.yaw[0])
            occupancy = OCC_OTHERS if family == "container" else OCC_MANMADE
            thing = Thing(family, disguise(name, mesh, self.rng), x, y, yaw, (size[0], size[1]), occupancy)
            self.decoys.append(thing)
            self._reserve(track, size[0], size[1])
            return True
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
        if self.rules.boxes_alike:
            makers["bus"], makers["trailer"] = lambda: boxes.bus(rng), lambda: boxes.trailer(rng)
            makers["truck"] = lambda: boxes.truck(rng) if rng.random() < 0.5 else vehicles.truck(rng)
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

    def standing(self, name: str, near: bool = False, decoy: bool = False) -> bool:
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
        if st.keep_clear(s, size[0] / 2 + 6.0):
            return False
        parked = not (name == "bus" and rng.random() < 0.7)
        track = self.still(s, side * inner, float(turn))
        if decoy:
            box = boxes.truck if name == "truck" else boxes.trailer
            return self.add(name, lambda: box(rng), size, track, margin=0.2, decoy=True)
        return self.add(name, self._mesh_of(name), size, track, parked=parked, margin=0.2)

    def in_bay(self, name: str, near: bool = False) -> bool:
        """A vehicle in a bay of a car park, nose in or out."""
        st, rng = self.layout.street, self.rng
        spread = 30.0 if near else _VIEW
        low, high = self.s_low + _VIEW - spread, self.s_high - _VIEW + spread
        parks = [park for park in st.carparks if park.s[1] > low and park.s[0] < high]
        if not parks:
            return False
        park = parks[int(rng.integers(len(parks)))]
        along, across = bay_rows(st, park)[int(rng.integers(2))]
        s = along[0] + BAY * (int(rng.integers(int((along[1] - along[0]) / BAY))) + 0.5) + rng.normal(0, 0.08)
        d = park.side * (sum(across) / 2 + rng.normal(0, 0.15))
        track = self.still(float(s), float(d), float(rng.choice([-1.0, 1.0])) * np.pi / 2 + rng.normal(0, 0.03))
        return self.add(name, self._mesh_of(name), self.size(name), track, parked=True, margin=0.05)

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

    def pedestrian(self, near: bool = False, decoy: bool = False) -> bool:
        """Somebody who walks along a pavement, stands on it, or crosses the road; sometimes two together."""
        st, rng, clothes = self.layout.street, self.rng, self.rules.clothes
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near)
        kind = str(rng.choice(["walk", "stand", "cross"], p=self.rules.pedestrian_habits))
        child = rng.random() < 0.06
        size = self.size("pedestrian", 0.72 if child else 1.0)
        category = "human.pedestrian.child" if child else None
        d: Array | float = side * (st.half_width + rng.uniform(0.9, st.pavement - 0.5))
        if kind == "cross" and st.crosswalks and rng.random() < 0.7:
            s = st.crosswalks[int(rng.integers(len(st.crosswalks)))].s + float(rng.uniform(-1.2, 1.2))
        if decoy:
            kind = "stand"
        walking = kind != "stand" if not decoy else bool(rng.random() < 0.5)
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
            "pedestrian",
            lambda: people.pedestrian(rng, walking, clothes),
            size,
            track,
            margin=0.12,
            category=category,
            decoy=decoy,
        )
        if added and not decoy and kind != "cross" and rng.random() < 0.35:
            beside = 0.85 * (1.0 if rng.random() < 0.5 else -1.0)
            normal = track.yaw + np.pi / 2
            friend = Track(track.x + beside * np.cos(normal), track.y + beside * np.sin(normal), track.yaw)
            other = self.size("pedestrian")
            self.add("pedestrian", lambda: people.pedestrian(rng, walking, clothes), other, friend, margin=0.08)
        return added

    # --- works --------------------------------------------------------------------------------------------

    def works(self, near: bool) -> tuple[int, int, int]:
        """Roadworks at the edge of the road, or a row of decoys; says how many barriers, cones and machines it got."""
        st, rng = self.layout.street, self.rng
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near)
        length = float(rng.uniform(10, 24))
        edge = st.lane_edge + (0.6 if st.parking > 0 else 1.2)
        if st.keep_clear(s + length / 2, length / 2 + 3):
            return 0, 0, 0
        mock = self.rules.mock_works > 0 and rng.random() < self.rules.mock_works
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
        if mock:
            size = self.size("truck")
            still = self.still(s + length / 2, side * (edge + 0.6 + size[1] / 2), turn)
            self.add("truck", lambda: boxes.truck(rng), size, still, decoy=True)
        else:
            machines += self.add(
                "construction_vehicle", self._mesh_of("construction_vehicle"), size, track, parked=not moves
            )
        kind = str(rng.choice(["barriers", "both", "cones"], p=[0.35, 0.45, 0.2]))
        if kind != "cones":
            for at in np.arange(s, s + length, float(rng.uniform(2.7, 3.4))):
                size = self.size("barrier")
                turn = np.pi / 2 + rng.normal(0, 0.05)
                track = self.still(float(at), side * edge, turn)
                barriers += self.add(
                    "barrier", lambda: street.barrier(rng), size, track, parked=True, margin=0.02, decoy=mock
                )
        if kind != "barriers":
            for at in np.arange(s - 8, s + (0 if kind == "both" else length), float(rng.uniform(1.8, 3.5))):
                size = self.size("traffic_cone")
                track = self.still(float(at), side * (edge + rng.normal(0, 0.15)), float(rng.uniform(0, 6)))
                cones += self.add(
                    "traffic_cone", lambda: street.traffic_cone(rng), size, track, margin=0.02, decoy=mock
                )
        for _ in range(int(rng.integers(0, 3))):
            size = self.size("pedestrian")
            at = s + rng.uniform(0, length)
            track = self.still(float(at), side * (edge + rng.uniform(0.8, 3)), float(rng.uniform(-3, 3)))
            self.add(
                "pedestrian",
                lambda: people.pedestrian(rng, False, self.rules.clothes),
                size,
                track,
                category="human.pedestrian.construction_worker",
                decoy=mock,
            )
        if mock:
            return 0, 0, 0
        return barriers, cones, machines

    def lone(self, name: str, near: bool = False, decoy: bool = False) -> bool:
        """A cone or barrier on its own (or a short row), on the pavement or at the kerb."""
        st, rng = self.layout.street, self.rng
        side = float(rng.choice([-1.0, 1.0]))
        s = self._somewhere(near, 25.0)
        where = st.half_width + (rng.uniform(-0.6, -0.3) if rng.random() < 0.4 else rng.uniform(0.4, st.pavement))
        size = self.size(name)
        turn = float(rng.uniform(-np.pi, np.pi)) if name == "traffic_cone" else np.pi / 2 + rng.normal(0, 0.3)
        build = (lambda: street.traffic_cone(rng)) if name == "traffic_cone" else (lambda: street.barrier(rng))
        track = self.still(s, side * where, float(turn))
        return self.add(name, build, size, track, parked=True, margin=0.05, decoy=decoy)
