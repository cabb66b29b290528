"""A data set's statistics beside those of nuScenes, as a table."""

from __future__ import annotations

import numpy as np

from bevlite.data.classes import MAP_CLASSES
from bevlite.simulation.world.decoys import FAMILY
from bevlite.simulation.world.published import (
    ANCHOR_SIZES,
    KEYFRAME_FEW_POINTS,
    KEYFRAME_POINTS,
    KEYFRAMES,
    MINI_MEAN_POINTS,
    MINI_NO_POINTS,
    PAPER_SPEED,
    RANGES,
    TRAINVAL_BOXES,
    VEHICLES,
    VISIBILITY,
)
from bevlite.simulation.world.statistics import Statistics

FAMILIES = tuple(dict.fromkeys(FAMILY.values()))


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def render(found: Statistics) -> str:
    """The comparison as a Markdown table: figure, here, nuScenes, source."""
    rows: list[tuple[str, str, str, str]] = []
    boxes = sum(found.per_keyframe.values())
    rows.append(("keyframes", str(found.keyframes), str(KEYFRAMES), "trainval"))
    published = sum(TRAINVAL_BOXES.values()) / KEYFRAMES
    rows.append(("boxes a keyframe, ten classes", _number(boxes, 1), _number(published, 1), "trainval"))
    vehicles = sum(found.per_keyframe[name] for name in VEHICLES)
    rows.append(("vehicles a keyframe", _number(vehicles, 1), "20", "paper"))
    rows.append(("pedestrians a keyframe", _number(found.per_keyframe["pedestrian"], 1), "7", "paper"))
    for name, count in TRAINVAL_BOXES.items():
        here = _number(found.per_keyframe[name])
        rows.append((f"{name} a keyframe", here, _number(count / KEYFRAMES), "trainval"))
    for name, size in ANCHOR_SIZES.items():
        mine = found.size.get(name)
        here = " x ".join(_number(v) for v in mine) if mine else "-"
        rows.append((f"{name} w x l x h (m)", here, " x ".join(_number(v) for v in size), "anchors"))
    for name in ("car", "pedestrian"):
        for k, (low, high) in enumerate(RANGES):
            median = found.points.get(name, (None,) * len(RANGES))[k]
            real = KEYFRAME_POINTS.get(name, (None,) * len(RANGES))[k]
            label = f"{name}, median points at {low}-{high} m"
            rows.append((label, _number(median, 0), _number(real, 0), "keyframe"))
    empty = _number(100 * MINI_NO_POINTS, 1)
    rows.append(("boxes without a LiDAR point (%)", _number(100 * found.no_points, 1), empty, "devkit #313"))
    few = _number(100 * KEYFRAME_FEW_POINTS, 0)
    rows.append(("boxes with 1 to 5 LiDAR points (%)", _number(100 * found.few_points, 0), few, "keyframe"))
    here = _number(100 * found.seen_with_few, 0)
    rows.append(("boxes seen to 60 % or more, 0 to 5 points (%)", here, "-", "not known to us"))
    mean = _number(MINI_MEAN_POINTS, 1)
    rows.append(("mean points of a box", _number(found.mean_points, 1), mean, "devkit #219"))
    for level, label in (("1", "0-40"), ("2", "40-60"), ("3", "60-80"), ("4", "80-100")):
        here = _number(100 * found.visibility[level], 0)
        published = 100 * VISIBILITY[level] / sum(VISIBILITY.values())
        rows.append((f"visibility {label} % (% of boxes)", here, _number(published, 0), "trainval"))
    for name, speed in PAPER_SPEED.items():
        here = _number(found.speed.get(name), 1)
        rows.append((f"{name}, mean speed when moving (m/s)", here, str(speed), "paper"))
    for name in ("car", "pedestrian"):
        moving = found.moving.get(name)
        here = _number(None if moving is None else 100 * moving, 0)
        rows.append((f"{name}, moving (% of boxes)", here, "-", "not known to us"))
    rows.append(("points of a keyframe sweep", _number(found.sweep_points, 0), "34688", "keyframe"))
    for name in MAP_CLASSES:
        here = _number(None if not found.map_share else 100 * found.map_share[name], 1)
        rows.append((f"map: {name} (% of 100 m x 100 m)", here, "-", "not known to us"))
    for family in FAMILIES:
        here = _number(found.decoys.get(family) if found.decoys else None, 1)
        rows.append((f"decoys a keyframe: {family}", here, "-", "have none"))
    head = ("figure", "here", "nuScenes", "source")
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(4)]
    lines = [
        "| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in [head, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
