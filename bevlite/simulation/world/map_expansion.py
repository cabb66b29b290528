"""The plan of a street as a vector map in the format of the nuScenes map expansion (version 1.3)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from bevlite.simulation.world.geometry import Array
from bevlite.simulation.world.path import Path
from bevlite.simulation.world.street_plan import LANE, MapArea, MapLine, Span, Street, StreetPlan

EXPANSION_VERSION = "1.3"
RECORDS = (
    "polygon",
    "line",
    "node",
    "drivable_area",
    "road_segment",
    "road_block",
    "lane",
    "ped_crossing",
    "walkway",
    "stop_line",
    "carpark_area",
    "road_divider",
    "lane_divider",
    "traffic_light",
    "lane_connector",
)
_STEP = 2.0  # m between the nodes of a curve: the chord is 7 mm off at a radius of 70 m
_LINE = 20.0  # longest line (m)
_ARC = 4.0  # longest piece of a lane's centre line (m)
Row = dict[str, Any]


def _between(span: Span, step: float) -> Array:
    """Places from one end of a span to the other, at most `step` apart."""
    return np.linspace(span[0], span[1], max(1, int(np.ceil(abs(span[1] - span[0]) / step))) + 1)


class _Writer:
    """Collects the records of one map."""

    def __init__(self, street: Street, path: Path, token: Callable[..., str]) -> None:
        self.street, self.path, self._token = street, path, token
        self.layers: dict[str, list[Row]] = {name: [] for name in RECORDS}
        self.arcs: dict[str, list[Row]] = {}
        self.connectivity: dict[str, Row] = {}

    def token(self, layer: str) -> str:
        return self._token("map", layer, len(self.layers[layer]))

    def nodes(self, s: Array, d: Array) -> list[str]:
        tokens = []
        x, y, _ = self.path.at(s, d)
        for px, py in zip(np.atleast_1d(x), np.atleast_1d(y), strict=True):
            tokens.append(self.token("node"))
            self.layers["node"].append({"token": tokens[-1], "x": round(float(px), 3), "y": round(float(py), 3)})
        return tokens

    def polygon(self, s: Span, d: Span) -> str:
        along = _between(s, _STEP)
        forth = self.nodes(along, np.full_like(along, d[0]))
        back = self.nodes(along[::-1], np.full_like(along, d[1]))
        token = self.token("polygon")
        self.layers["polygon"].append({"token": token, "exterior_node_tokens": forth + back, "holes": []})
        return token

    def line(self, s: Array, d: Array) -> tuple[str, list[str]]:
        token, nodes = self.token("line"), self.nodes(s, d)
        self.layers["line"].append({"token": token, "node_tokens": nodes})
        return token, nodes

    def add(self, layer: str, **row: Any) -> str:
        token = self.token(layer)
        self.layers[layer].append({"token": token, **row})
        return token

    # --- lines ----------------------------------------------------------------------------------------------

    def divider(self, line: MapLine) -> None:
        """A line of the plan, in pieces: the devkit cannot draw a line that a patch cuts into several."""
        pieces = max(1, int(np.ceil((abs(line.s[1] - line.s[0]) + abs(line.d[1] - line.d[0])) / _LINE)))
        if line.s[0] != line.s[1] and line.d[0] != line.d[1]:
            raise ValueError(f"a line follows s or d: found {line}")
        for k in range(pieces):
            ends = np.array([k, k + 1]) / pieces
            s, d = np.interp(ends, [0, 1], line.s), np.interp(ends, [0, 1], line.d)
            at = _between((s[0], s[1]), _STEP) if s[0] != s[1] else np.array(s)
            token, nodes = self.line(at, np.full_like(at, d[0]) if s[0] != s[1] else np.array(d))
            if line.layer == "road_divider":
                self.add("road_divider", line_token=token, road_segment_token=None)
            else:
                segments = [{"node_token": node, "segment_type": line.kind} for node in nodes]
                self.add("lane_divider", line_token=token, lane_divider_segments=segments)

    # --- lanes ----------------------------------------------------------------------------------------------

    def _arcs(self, token: str, points: Array) -> None:
        """The centre line of a lane through `points` (n, 3: x, y, heading), each piece an arc or straight."""
        pieces = []
        for a, b in itertools.pairwise(points):
            turn = float((b[2] - a[2] + np.pi) % (2 * np.pi) - np.pi)
            chord = float(np.hypot(*(b[:2] - a[:2])))
            length = chord if abs(turn) < 1e-6 else chord * (turn / 2) / np.sin(turn / 2)
            straight = abs(turn) < 1e-6
            pieces.append(
                {
                    "start_pose": [float(v) for v in a],
                    "end_pose": [float(v) for v in b],
                    "shape": "RSR" if turn < 0 else "LSL",
                    "radius": 999.999 if straight else length / abs(turn),
                    "segment_length": [0.0, length, 0.0] if straight else [length, 0.0, 0.0],
                }
            )
        self.arcs[token] = pieces

    def _centre(self, s: Array, d: Array, turn: float) -> Array:
        x, y, heading = self.path.at(s, d)
        x, y, heading = np.broadcast_arrays(x, y, heading + turn)
        return np.stack([x, y, (heading + np.pi) % (2 * np.pi) - np.pi], -1)

    def lane(self, area: MapArea, polygon: str) -> str:
        """A lane of the road, or of a crossing street, in the direction of its traffic."""
        forth = area.facts["outward"] if area.facts["across"] else area.facts["side"] < 0
        if area.facts["across"]:
            side, middle = area.facts["side"], sum(area.s) / 2
            away = side if forth else -side
            low, high = sorted(area.d, key=abs)
            at = np.array([low, high] if forth else [high, low])
            points = self._centre(np.full(2, middle), at, np.pi / 2 * away)
            sides = [(np.full(2, area.s[k]), at) for k in (0, 1)]
            left, right = (sides[0], sides[1]) if away > 0 else (sides[1], sides[0])
            kinds = ["NIL", "NIL"]
        else:
            s = _between(area.s, _ARC)
            s = s if forth else s[::-1]
            points = self._centre(s, np.full_like(s, sum(area.d) / 2), 0.0 if forth else np.pi)
            inner, outer = sorted(area.d, key=abs)
            left, right = (s, np.full_like(s, inner)), (s, np.full_like(s, outer))
            last = area.facts["lane"] == self.street.lanes - 1
            edge = "SINGLE_SOLID_WHITE" if self.street.parking > 1.0 else "NIL"
            kinds = ["NIL" if area.facts["lane"] == 0 else "DASHED_WHITE", edge if last else "DASHED_WHITE"]
        edges = []
        for k in (0, -1):
            edges.append(self.line(np.array([left[0][k], right[0][k]]), np.array([left[1][k], right[1][k]]))[0])
        dividers = [
            [{"node_token": node, "segment_type": kind} for node in self.nodes(*at)]
            for at, kind in zip((left, right), kinds, strict=True)
        ]
        token = self.add(
            "lane",
            polygon_token=polygon,
            lane_type="CAR",
            from_edge_line_token=edges[0],
            to_edge_line_token=edges[1],
            left_lane_divider_segments=dividers[0],
            right_lane_divider_segments=dividers[1],
        )
        self._arcs(token, points)
        self.connectivity[token] = {"incoming": [], "outgoing": []}
        return token

    def connect(self, lanes: list[tuple[MapArea, str]]) -> None:
        """Join the lanes of the road over each junction by a lane connector, which goes straight on."""
        street = self.street
        for at, half in street.crossings:
            for side in (-1.0, 1.0):
                for lane in range(street.lanes):
                    mine = [
                        (area, token)
                        for area, token in lanes
                        if not area.facts["across"] and area.facts["side"] == side and area.facts["lane"] == lane
                    ]
                    before = [token for area, token in mine if abs(area.s[1] - (at - half)) < 1e-6]
                    after = [token for area, token in mine if abs(area.s[0] - (at + half)) < 1e-6]
                    if not before or not after:
                        continue
                    source, target = (before[0], after[0]) if side < 0 else (after[0], before[0])
                    inner = street.inner + lane * LANE
                    d = (inner, inner + LANE) if side > 0 else (-inner - LANE, -inner)
                    polygon = self.polygon((at - half, at + half), d)
                    token = self.add("lane_connector", polygon_token=polygon)
                    s = _between((at - half, at + half) if side < 0 else (at + half, at - half), _ARC)
                    self._arcs(token, self._centre(s, np.full_like(s, sum(d) / 2), 0.0 if side < 0 else np.pi))
                    self.connectivity[token] = {"incoming": [source], "outgoing": [target]}
                    self.connectivity[source]["outgoing"].append(token)
                    self.connectivity[target]["incoming"].append(token)


def map_expansion(
    plan: StreetPlan, street: Street, path: Path, size: tuple[float, float], token: Callable[..., str]
) -> dict[str, Any]:
    """The content of `maps/expansion/<location>.json`.

    Args:
        plan: what lies where along the road.
        street: the cross-section of the road.
        path: the road's centre line in the global frame.
        size: width and height of the map (m).
        token: makes the token of a thing from the parts of its name.
    """
    w = _Writer(street, path, token)
    drivable: list[str] = []
    made: list[str] = []
    lanes: list[tuple[MapArea, str]] = []
    for area in plan.areas:
        polygon = w.polygon(area.s, area.d)
        if area.layer in ("road_segment", "carpark_area"):
            drivable.append(polygon)
        if area.layer == "lane":
            lanes.append((area, w.lane(area, polygon)))
            made.append(lanes[-1][1])
        elif area.layer == "stop_line":
            crossing = made[area.facts["crossing"]]
            made.append(
                w.add(
                    "stop_line",
                    polygon_token=polygon,
                    stop_line_type="PED_CROSSING",
                    ped_crossing_tokens=[crossing],
                    traffic_light_tokens=[],
                    road_block_token=None,
                )
            )
        elif area.layer == "ped_crossing":
            made.append(w.add("ped_crossing", polygon_token=polygon, road_segment_token=None))
        elif area.layer == "road_segment":
            made.append(
                w.add("road_segment", polygon_token=polygon, **area.facts, drivable_area_token=w.token("drivable_area"))
            )
        else:
            made.append(w.add(area.layer, polygon_token=polygon, **area.facts))
    w.add("drivable_area", polygon_tokens=drivable)
    w.connect(lanes)
    for line in plan.lines:
        w.divider(line)
    return {
        "version": EXPANSION_VERSION,
        **w.layers,
        "canvas_edge": list(size),
        "connectivity": w.connectivity,
        "arcline_path_3": w.arcs,
    }
