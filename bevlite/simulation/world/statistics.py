"""What a data set in nuScenes format holds, beside the figures that are published of nuScenes.

Sources, as the table names them:

- `trainval`: counts of sample_annotation by category in nuScenes v1.0-trainval (1,166,187 boxes in 34,149
  keyframes), as the devkit's `list_categories` prints them on the full data set; summed to detection classes.
- `paper`: Caesar et al., nuScenes: A multimodal dataset for autonomous driving, arXiv 1903.11027.
- `anchors`: mean box sizes of nuScenes' training set, as the anchors of mmdetection3d's nuScenes configs.
- `keyframe`: one real keyframe (the first of scene-0061: 68 boxes), measured by this same code: an impression
  of one crowded place, not a statistic of nuScenes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.data.classes import CATEGORIES, LIDAR
from bevlite.errors import DataError

VEHICLES = ("car", "truck", "bus", "trailer", "construction_vehicle", "motorcycle", "bicycle")
_KEYFRAMES = 34149
TRAINVAL_BOXES = {
    "car": 493322,
    "truck": 88519,
    "bus": 14501 + 1820,
    "trailer": 24860,
    "construction_vehicle": 14671,
    "pedestrian": 208240 + 2066 + 9161 + 727,
    "motorcycle": 12617,
    "bicycle": 11859,
    "traffic_cone": 97959,
    "barrier": 152087,
}
ANCHOR_SIZES = {  # width, length, height (m)
    "car": (1.95, 4.61, 1.72),
    "truck": (2.46, 6.74, 2.73),
    "bus": (2.94, 11.19, 3.47),
    "trailer": (2.87, 12.01, 3.82),
    "construction_vehicle": (2.73, 6.38, 3.13),
    "pedestrian": (0.66, 0.73, 1.76),
    "motorcycle": (0.76, 2.10, 1.44),
    "bicycle": (0.60, 1.68, 1.27),
    "traffic_cone": (0.40, 0.40, 1.06),
    "barrier": (2.49, 0.49, 0.98),
}
PAPER_SPEED = {"car": 6.6, "pedestrian": 1.3, "bicycle": 4.0}
RANGES = ((0, 10), (10, 20), (20, 30), (30, 50), (50, 75))
# One real keyframe: median points of a box by range.
KEYFRAME_POINTS: dict[str, tuple[float | None, ...]] = {
    "car": (None, None, 45.0, 5.0, 2.0),
    "pedestrian": (None, 8.5, 6.5, 2.0, 1.0),
}
KEYFRAME_NO_POINTS = 0.044
MOVING = 0.5


@dataclass(frozen=True)
class Statistics:
    """What `measure` found.

    Attributes:
        keyframes: how many there are.
        per_keyframe: boxes a keyframe by detection class.
        size: mean (width, length, height) in metres by class.
        points: median LiDAR points of a box by class and by `RANGES`; None where there is no box.
        no_points: share of boxes without a LiDAR point.
        visibility: share of boxes by level "1".."4".
        speed: mean speed (m/s) of what moves faster than `MOVING`, by class.
        moving: share of boxes that move faster than `MOVING`, by class.
        sweep_points: mean points of a keyframe sweep.
    """

    keyframes: int
    per_keyframe: dict[str, float]
    size: dict[str, tuple[float, float, float]]
    points: dict[str, tuple[float | None, ...]]
    no_points: float
    visibility: dict[str, float]
    speed: dict[str, float]
    moving: dict[str, float]
    sweep_points: float


def _tables(root: Path, version: str | None) -> dict[str, list[dict[str, Any]]]:
    found = sorted(path.parent.name for path in root.glob("v1.0-*/sample_annotation.json"))
    if version is None and len(found) == 1:
        version = found[0]
    if version not in found:
        accepted = ", ".join(found) or "a folder v1.0-* of tables"
        raise DataError(f"{root}: found version {version or '(none given)'}; accepted: {accepted}")
    names = (
        "sample",
        "sample_data",
        "ego_pose",
        "sample_annotation",
        "instance",
        "category",
        "calibrated_sensor",
        "sensor",
    )
    try:
        return {name: json.loads((root / version / f"{name}.json").read_text()) for name in names}
    except (OSError, ValueError) as error:
        raise DataError(f"{root / version}: a table cannot be read ({error})") from None


def measure(root: Path, version: str | None = None) -> Statistics:
    """Read the tables under `root` and count.

    Raises:
        DataError: there is no such version, or several and none is named.
    """
    tables = _tables(Path(root), version)
    category = {row["token"]: row["name"] for row in tables["category"]}
    name_of = {row["token"]: CATEGORIES.get(category[row["category_token"]]) for row in tables["instance"]}
    time_of = {row["token"]: row["timestamp"] * 1e-6 for row in tables["sample"]}
    channel = {row["token"]: row["channel"] for row in tables["sensor"]}
    lidars = {row["token"] for row in tables["calibrated_sensor"] if channel[row["sensor_token"]] == LIDAR}
    pose = {row["token"]: row["translation"] for row in tables["ego_pose"]}
    ego, sizes_on_disk = {}, []
    for row in tables["sample_data"]:
        if row["is_key_frame"] and row["calibrated_sensor_token"] in lidars:
            ego[row["sample_token"]] = pose[row["ego_pose_token"]]
            file = Path(root) / row["filename"]
            if file.exists():
                sizes_on_disk.append(file.stat().st_size / 20)
    rows = {row["token"]: row for row in tables["sample_annotation"]}

    by_class: dict[str, list[tuple[float, int, float, tuple[float, ...]]]] = {name: [] for name in TRAINVAL_BOXES}
    levels, empty, total = dict.fromkeys("1234", 0), 0, 0
    for row in rows.values():
        name = name_of[row["instance_token"]]
        if name is None:
            continue
        x, y = row["translation"][:2]
        centre = ego[row["sample_token"]]
        away = float(np.hypot(x - centre[0], y - centre[1]))
        first, last = rows.get(row["prev"], row), rows.get(row["next"], row)
        duration = time_of[last["sample_token"]] - time_of[first["sample_token"]]
        moved = np.hypot(*(np.array(last["translation"][:2]) - np.array(first["translation"][:2])))
        speed = float(moved / duration) if 0 < duration <= 1.6 else float("nan")
        by_class[name].append((away, int(row["num_lidar_pts"]), speed, tuple(row["size"])))
        if row["visibility_token"] in levels:
            levels[row["visibility_token"]] += 1
        empty += row["num_lidar_pts"] == 0
        total += 1
    if not total:
        raise DataError(f"{root}: holds no box of a detection class")

    points: dict[str, tuple[float | None, ...]] = {}
    speed_mean, moving, size = {}, {}, {}
    for name, boxes in by_class.items():
        if not boxes:
            continue
        inside = [[p for a, p, _, _ in boxes if low <= a < high] for low, high in RANGES]
        points[name] = tuple(float(np.median(p)) if p else None for p in inside)
        known = [s for _, _, s, _ in boxes if not np.isnan(s)]
        fast = [s for s in known if s > MOVING]
        if known:
            moving[name] = len(fast) / len(known)
        if fast:
            speed_mean[name] = float(np.mean(fast))
        mean = np.mean([s for _, _, _, s in boxes], axis=0)
        size[name] = (float(mean[0]), float(mean[1]), float(mean[2]))
    keyframes = len(tables["sample"])
    return Statistics(
        keyframes=keyframes,
        per_keyframe={name: len(boxes) / keyframes for name, boxes in by_class.items()},
        size=size,
        points=points,
        no_points=empty / total,
        visibility={level: count / total for level, count in levels.items()},
        speed=speed_mean,
        moving=moving,
        sweep_points=float(np.mean(sizes_on_disk)) if sizes_on_disk else float("nan"),
    )


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def render(found: Statistics) -> str:
    """The comparison as a Markdown table: figure, here, nuScenes, source."""
    rows: list[tuple[str, str, str, str]] = []
    boxes = sum(found.per_keyframe.values())
    rows.append(("keyframes", str(found.keyframes), str(_KEYFRAMES), "trainval"))
    published = sum(TRAINVAL_BOXES.values()) / _KEYFRAMES
    rows.append(("boxes a keyframe, ten classes", _number(boxes, 1), _number(published, 1), "trainval"))
    vehicles = sum(found.per_keyframe[name] for name in VEHICLES)
    rows.append(("vehicles a keyframe", _number(vehicles, 1), "20", "paper"))
    rows.append(("pedestrians a keyframe", _number(found.per_keyframe["pedestrian"], 1), "7", "paper"))
    for name, count in TRAINVAL_BOXES.items():
        here = _number(found.per_keyframe[name])
        rows.append((f"{name} a keyframe", here, _number(count / _KEYFRAMES), "trainval"))
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
    empty = _number(100 * KEYFRAME_NO_POINTS, 1)
    rows.append(("boxes without a LiDAR point (%)", _number(100 * found.no_points, 1), empty, "keyframe"))
    for level, label in (("1", "0-40"), ("2", "40-60"), ("3", "60-80"), ("4", "80-100")):
        here = _number(100 * found.visibility[level], 0)
        rows.append((f"visibility {label} % (% of boxes)", here, "-", "not known to us"))
    for name, speed in PAPER_SPEED.items():
        here = _number(found.speed.get(name), 1)
        rows.append((f"{name}, mean speed when moving (m/s)", here, str(speed), "paper"))
    for name in ("car", "pedestrian"):
        moving = found.moving.get(name)
        here = _number(None if moving is None else 100 * moving, 0)
        rows.append((f"{name}, moving (% of boxes)", here, "-", "not known to us"))
    rows.append(("points of a keyframe sweep", _number(found.sweep_points, 0), "34688", "keyframe"))
    head = ("figure", "here", "nuScenes", "source")
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(4)]
    lines = [
        "| " + " | ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) + " |" for row in [head, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)
