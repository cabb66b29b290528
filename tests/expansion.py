"""A small map in the format of the nuScenes map expansion, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LAYERS = (
    "polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane", "ped_crossing", "walkway",
    "stop_line", "carpark_area", "road_divider", "lane_divider", "traffic_light", "lane_connector",
)  # fmt: skip
Points = list[tuple[float, float]]


class Expansion:
    """Collects polygons and lines, in m."""

    def __init__(self, canvas_edge: tuple[float, float] = (400.0, 400.0)) -> None:
        self.content: dict[str, Any] = {
            "version": "1.3", "canvas_edge": list(canvas_edge), "connectivity": {}, "arcline_path_3": {},
        } | {layer: [] for layer in LAYERS}  # fmt: skip

    def _nodes(self, points: Points) -> list[str]:
        tokens = []
        for x, y in points:
            tokens.append(f"n{len(self.content['node'])}")
            self.content["node"].append({"token": tokens[-1], "x": x, "y": y})
        return tokens

    def polygon(self, layer: str, outline: Points, *holes: Points) -> None:
        token = f"p{len(self.content['polygon'])}"
        tokens = self._nodes(outline)
        self.content["polygon"].append(
            {"token": token, "exterior_node_tokens": tokens, "holes": [{"node_tokens": self._nodes(h)} for h in holes]}
        )
        row: dict[str, Any] = {"token": f"{layer}{len(self.content[layer])}"}
        row |= {"polygon_tokens": [token]} if layer == "drivable_area" else {"polygon_token": token}
        if layer == "stop_line":  # which the devkit asks for
            row |= {"stop_line_type": "TRAFFIC_LIGHT", "ped_crossing_tokens": [], "road_block_token": "",
                    "traffic_light_tokens": []}  # fmt: skip
        if layer == "lane":
            row |= {"left_lane_divider_segments": [], "right_lane_divider_segments": []}
        self.content[layer].append(row)

    def line(self, layer: str, points: Points) -> None:
        token = f"l{len(self.content['line'])}"
        self.content["line"].append({"token": token, "node_tokens": self._nodes(points)})
        self.content[layer].append({"token": f"{layer}{len(self.content[layer])}", "line_token": token})

    def write(self, file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self.content))
        return file


def crossroads(x: float = 200.0, y: float = 200.0) -> Expansion:
    """A road along x with everything that is segmented, around (x, y)."""
    made = Expansion()
    made.polygon("road_segment", _box(x - 60, x + 60, y - 7, y + 7))
    made.polygon("lane", _box(x - 60, x + 60, y - 3.5, y))
    made.polygon("walkway", _box(x - 60, x + 60, y + 7, y + 10.3), _box(x + 5, x + 9, y + 8, y + 9.2))
    made.polygon("ped_crossing", [(x + 20, y - 7), (x + 24.3, y - 7), (x + 26, y + 7), (x + 21, y + 7)])
    made.polygon("stop_line", _box(x + 17, x + 18.2, y - 7, y))
    made.polygon("carpark_area", [(x - 40, y - 30), (x - 12, y - 33), (x - 15, y - 11), (x - 38, y - 9)])
    made.line("road_divider", [(x - 60, y), (x - 20, y + 0.6), (x + 60, y)])
    made.line("lane_divider", [(x - 60, y + 3.5), (x + 60, y + 3.5)])
    return made


def _box(x0: float, x1: float, y0: float, y1: float) -> Points:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
