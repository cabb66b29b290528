"""The ground of a street as rectangles along the road: what is painted, and what the vector map says of it.

Everything is given in (s, d): s metres along the centre line, d metres to its left. `zones` are painted in their
order, later ones over earlier ones; `areas` and `lines` are the same rectangles under the names of the nuScenes map
expansion. Both are made together, so that neither can say what the other does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bevlite.simulation.world import materials as m

Span = tuple[float, float]

LANE = 3.5
REACH = 68.0  # how far crossing streets go; less than the least radius of the road, so that nothing folds over
MEDIAN = 0.6
CROSSING_CLEAR = 6.2  # lane markings end that far before a crossing street
_PAINT = 0.07  # half the width of a line
_KERB = 0.18
_PLOT = 12.0
BAY = 2.5
_ROW = 5.0
CARPARK_DEPTH = 16.0
STOP_LINE = 1.0  # deeper than most real ones: two cells of the grid that maps are asked for on


@dataclass(frozen=True)
class Crosswalk:
    """A pedestrian crossing between junctions: middle and half width in s (m), zebra or lines, stop lines."""

    s: float
    half: float
    zebra: bool
    stop: bool


@dataclass(frozen=True)
class Carpark:
    """A car park beside the pavement: its s (m), its side (1 left, -1 right), and where its drive is."""

    s: Span
    side: float
    drive: float


@dataclass(frozen=True)
class Street:
    """The cross-section of the road, in metres from its centre line, and what crosses it or lies beside it."""

    lanes: int  # in each direction
    parking: float  # width of the parking strip, 0 if there is none
    pavement: float
    verge: float
    median: bool
    crossings: tuple[tuple[float, float], ...]  # (s, half width) of the streets that cross it
    crosswalks: tuple[Crosswalk, ...] = ()
    carparks: tuple[Carpark, ...] = ()

    @property
    def inner(self) -> float:
        """Where the inner lane begins."""
        return MEDIAN if self.median else 0.0

    @property
    def lane_edge(self) -> float:
        """Where the outer lane ends."""
        return self.lanes * LANE + self.inner

    @property
    def half_width(self) -> float:
        """Where the road ends and the kerb stands."""
        return self.lane_edge + self.parking

    @property
    def building_line(self) -> float:
        """Where plots begin."""
        return self.half_width + self.pavement + self.verge

    def lane_centre(self, lane: int) -> float:
        """Distance of a lane's centre from the centre line; lane 0 is the inner one."""
        return (lane + 0.5) * LANE + self.inner

    def is_crossing(self, s: float, margin: float = 0.0) -> bool:
        """Whether s lies on a crossing street, or within `margin` of one."""
        return any(abs(s - at) < half + margin for at, half in self.crossings)

    def keep_clear(self, s: float, margin: float) -> bool:
        """Whether nobody stands at s: within `margin` of a crossing street, or less of a pedestrian crossing."""
        near = max(margin - 4.0, 0.5)
        return self.is_crossing(s, margin) or any(abs(s - walk.s) < walk.half + near for walk in self.crosswalks)

    def on_carpark(self, s: float, side: float, margin: float) -> bool:
        """Whether s lies within `margin` of a car park on that side."""
        return any(p.side == side and p.s[0] - margin < s < p.s[1] + margin for p in self.carparks)


def bay_rows(street: Street, park: Carpark) -> tuple[tuple[Span, Span], ...]:
    """The two rows of bays of a car park: s and d (d as a distance from the centre line); the drive stays free."""
    near, far = street.building_line, street.building_line + CARPARK_DEPTH
    ahead = park.drive < sum(park.s) / 2
    beside = (park.drive + 3.5, park.s[1]) if ahead else (park.s[0], park.drive - 3.5)
    return (beside, (near, near + _ROW)), (park.s, (far - _ROW, far))


@dataclass(frozen=True)
class Zone:
    """A rectangle of ground: where, its code, and stripes of `other` between, counted along s or d; -1 leaves it."""

    s: Span
    d: Span
    code: int
    other: int = -1
    period: float = 0.0
    share: float = 1.0
    along: bool = True


@dataclass(frozen=True)
class MapArea:
    """A polygon of the vector map: layer, rectangle, and what its record says beside."""

    layer: str
    s: Span
    d: Span
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MapLine:
    """A line of the vector map: layer, from (s, d) to (s, d), and the type of a lane divider's segments."""

    layer: str
    s: Span
    d: Span
    kind: str = ""


@dataclass
class StreetPlan:
    """The ground of a street between two places (m along the road)."""

    zones: list[Zone] = field(default_factory=list)
    areas: list[MapArea] = field(default_factory=list)
    lines: list[MapLine] = field(default_factory=list)


def _sided(side: float, low: float, high: float) -> Span:
    return (low, high) if side > 0 else (-high, -low)


class _Planner:
    def __init__(self, street: Street, start: float, end: float) -> None:
        self.street, self.start, self.end = street, start, end
        self.plan = StreetPlan()
        self.inner = [(c - half, c + half) for c, half in street.crossings]

    def zone(self, s: Span, d: Span, code: int, **stripes: Any) -> None:
        self.plan.zones.append(Zone(s, d, code, **stripes))

    def area(self, layer: str, s: Span, d: Span, **facts: Any) -> int:
        self.plan.areas.append(MapArea(layer, s, d, facts))
        return len(self.plan.areas) - 1

    def stretches(self) -> Iterator[tuple[float, float, bool, bool]]:
        """The road between crossing streets: from, to, and whether a crossing street is at either end."""
        at = self.start
        for low, high in self.inner:
            if low > at:
                yield at, low, at > self.start, True
            at = high
        if at < self.end:
            yield at, self.end, at > self.start, False

    def sides_of_road(self) -> list[Span]:
        """d of the carriageways: one, or two beside a median."""
        st = self.street
        if not st.median:
            return [(-st.half_width, st.half_width)]
        return [(-st.half_width, -MEDIAN), (MEDIAN, st.half_width)]

    # --- beside the road ------------------------------------------------------------------------------------

    def plots(self, codes: list[int]) -> None:
        line = self.street.building_line
        for k in range(int((self.end - self.start) / _PLOT) + 1):
            s = (self.start + k * _PLOT, min(self.start + (k + 1) * _PLOT, self.end))
            for side in (-1.0, 1.0):
                self.zone(s, _sided(side, line, line + 22.0), codes[k % len(codes)])

    def pavement(self, s: Span, d: Span, kerb_s: Span, kerb_d: Span) -> None:
        self.zone(s, d, m.GROUND_SIDEWALK)
        self.zone(kerb_s, kerb_d, m.GROUND_KERB)
        self.area("walkway", s, d)

    def pavements(self) -> None:
        st = self.street
        half, outer = st.half_width, st.half_width + st.pavement
        for side in (-1.0, 1.0):
            for a, b, _, _ in self.stretches():
                self.pavement((a, b), _sided(side, half, outer), (a, b), _sided(side, half, half + _KERB))
            away = _sided(side, outer, REACH)
            for low, high in self.inner:
                self.pavement((low - st.pavement, low), away, (low - _KERB, low), _sided(side, half, REACH))
                self.pavement((high, high + st.pavement), away, (high, high + _KERB), _sided(side, half, REACH))

    def carparks(self) -> None:
        st = self.street
        for park in st.carparks:
            near, far = st.building_line, st.building_line + CARPARK_DEPTH
            self.zone(park.s, _sided(park.side, near, far), m.GROUND_CARPARK)
            self.area("carpark_area", park.s, _sided(park.side, near, far), orientation=0)
            if st.verge > 0:
                drive = (park.drive - 3.0, park.drive + 3.0)
                self.zone(drive, _sided(park.side, near - st.verge, near), m.GROUND_CARPARK)
                self.area("carpark_area", drive, _sided(park.side, near - st.verge, near), orientation=0)
            for along, row in bay_rows(st, park):
                self.zone(along, _sided(park.side, *row), m.GROUND_BAY, period=BAY, share=0.12 / BAY)

    # --- roads ----------------------------------------------------------------------------------------------

    def crossing_streets(self) -> None:
        half = self.street.half_width
        for low, high in self.inner:
            middle = (low + high) / 2
            self.area("road_segment", (low, high), (-half, half), is_intersection=True)
            for side in (-1.0, 1.0):
                d = _sided(side, half, REACH)
                self.zone((low, high), d, m.GROUND_ASPHALT)
                self.area("road_segment", (low, high), d, is_intersection=False)
                lanes = _sided(side, half + CROSSING_CLEAR, REACH)
                for s, leaves in (((low, middle), side < 0), ((middle, high), side > 0)):
                    self.area("lane", s, lanes, across=True, outward=leaves, side=side)
                self.zone((middle - _PAINT, middle + _PAINT), lanes, m.GROUND_WORN_YELLOW)
                self.plan.lines.append(MapLine("road_divider", (middle, middle), lanes))

    def road(self) -> None:
        st = self.street
        half = st.half_width
        self.zone((self.start, self.end), (-half, half), m.GROUND_ASPHALT)
        for a, b, left, right in self.stretches():
            for d in self.sides_of_road():
                self.area("road_segment", (a, b), d, is_intersection=False)
            for side in (-1.0, 1.0):
                for lane in range(st.lanes):
                    d = _sided(side, st.inner + lane * LANE, st.inner + (lane + 1) * LANE)
                    self.area("lane", (a, b), d, across=False, side=side, lane=lane)
            if st.median:
                self.zone((a, b), (-MEDIAN, MEDIAN), m.GROUND_MEDIAN)
                self.plan.lines.append(MapLine("road_divider", (a, b), (0.0, 0.0)))
            self.markings(a + CROSSING_CLEAR * left, b - CROSSING_CLEAR * right)

    def markings(self, a: float, b: float) -> None:
        """Lines along the road from a to b, left out where people cross."""
        st = self.street
        walks = sorted(st.crosswalks, key=lambda walk: walk.s)
        for walk in walks:
            if a < walk.s < b:
                self.lines(a, walk.s - walk.half - 0.3)
                a = walk.s + walk.half + 0.3
        self.lines(a, b)

    def lines(self, a: float, b: float) -> None:
        st = self.street
        if b - a < 0.5:
            return
        if not st.median:
            self.zone((a, b), (-_PAINT, _PAINT), m.GROUND_WORN_YELLOW)
            self.plan.lines.append(MapLine("road_divider", (a, b), (0.0, 0.0)))
        for side in (-1.0, 1.0):
            for lane in range(1, st.lanes):
                d = side * (st.inner + lane * LANE)
                self.zone((a, b), (d - _PAINT, d + _PAINT), m.GROUND_WORN_WHITE, period=9.0, share=1 / 3)
                self.plan.lines.append(MapLine("lane_divider", (a, b), (d, d), "DASHED_WHITE"))
            if st.parking > 1.0:
                d = side * st.lane_edge
                self.zone((a, b), (d - _PAINT, d + _PAINT), m.GROUND_WORN_WHITE)
                self.plan.lines.append(MapLine("lane_divider", (a, b), (d, d), "SINGLE_SOLID_WHITE"))

    # --- where people cross ---------------------------------------------------------------------------------

    def crosswalk(self, s: Span, d: Span, zebra: bool, across: bool = False) -> int:
        """A crossing over the road, or over a crossing street (`across`); returns its place among the areas."""
        gap, paint = m.GROUND_CROSSING_GAP, m.GROUND_CROSSING
        if zebra:
            self.zone(s, d, paint, other=gap, period=1.2, share=0.5, along=across)
        else:
            self.zone(s, d, gap)
            for k in (0, 1):
                if across:
                    low = d[k] - 0.35 * k
                    self.zone(s, (low, low + 0.35), paint)
                else:
                    low = s[k] - 0.35 * k
                    self.zone((low, low + 0.35), d, paint)
        return self.area("ped_crossing", s, d)

    def stop_line(self, s: Span, d: Span, crossing: int) -> None:
        self.zone(s, d, m.GROUND_STOP_LINE)
        self.area("stop_line", s, d, crossing=crossing)

    def over_road(self, s: Span, zebra: bool, stops: tuple[float, ...]) -> None:
        """A crossing over the road, with a stop line for the traffic of each side (d < 0: -1) of `stops`."""
        st = self.street
        made = [self.crosswalk(s, d, zebra) for d in self.sides_of_road()]
        for side in stops:
            # Traffic at d < 0 goes with s, so it stops before the crossing's beginning.
            at = (s[0] - 1.0 - STOP_LINE, s[0] - 1.0) if side < 0 else (s[1] + 1.0, s[1] + 1.0 + STOP_LINE)
            self.stop_line(at, _sided(side, st.inner, st.lane_edge), made[0 if side < 0 else -1])

    def crosswalks(self) -> None:
        st = self.street
        for low, high in self.inner:
            if low - 4.0 > self.start:
                self.over_road((low - 4.0, low - 1.0), True, (-1.0,))
            if high + 4.0 < self.end:
                self.over_road((high + 1.0, high + 4.0), True, (1.0,))
            middle = (low + high) / 2
            for side in (-1.0, 1.0):
                d = _sided(side, st.half_width + 0.6, st.half_width + 3.2)
                made = self.crosswalk((low, high), d, True, across=True)
                # Who comes in over a crossing street keeps to the right.
                inward = (low, middle) if side > 0 else (middle, high)
                self.stop_line(inward, _sided(side, st.half_width + 3.7, st.half_width + 3.7 + STOP_LINE), made)
        for walk in st.crosswalks:
            stops = (-1.0, 1.0) if walk.stop else ()
            self.over_road((walk.s - walk.half, walk.s + walk.half), walk.zebra, stops)


def plan_street(street: Street, start: float, end: float, plots: list[int]) -> StreetPlan:
    """The ground of `street` from `start` to `end` (m along the road); `plots` are codes of the land beside it."""
    planner = _Planner(street, start, end)
    planner.plots(plots)
    planner.carparks()
    planner.pavements()
    planner.crossing_streets()
    planner.road()
    planner.crosswalks()
    return planner.plan
