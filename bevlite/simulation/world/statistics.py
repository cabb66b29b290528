"""What a data set in nuScenes format holds, beside the figures of nuScenes that `published` has."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.data.classes import CATEGORIES, LIDAR
from bevlite.errors import DataError
from bevlite.simulation.world.constants import ANNOTATION_RANGE
from bevlite.simulation.world.geometry import rotation_of
from bevlite.simulation.world.map_shares import map_shares
from bevlite.simulation.world.published import RANGES, TRAINVAL_BOXES
from bevlite.simulation.world.tables import DECOYS

MOVING = 0.5
FEW = 5  # points


@dataclass(frozen=True)
class Statistics:
    """What `measure` found.

    Attributes:
        keyframes: how many there are.
        per_keyframe: boxes a keyframe by detection class.
        size: mean (width, length, height) in metres by class.
        points: median LiDAR points of a box by class and by `RANGES`; None where there is no box.
        no_points: share of boxes without a LiDAR point.
        few_points: share of boxes with 1 to `FEW` LiDAR points.
        seen_with_few: share of boxes with at most `FEW` points of which a camera sees 60 % or more.
        mean_points: mean LiDAR points of a box.
        visibility: share of boxes by level "1".."4".
        speed: mean speed (m/s) of what moves faster than `MOVING`, by class.
        moving: share of boxes that move faster than `MOVING`, by class.
        sweep_points: mean points of a keyframe sweep.
        map_share: mean share of the 100 m x 100 m around the ego, by map class; empty where there is no vector map.
        decoys: things that look like objects and are none within 75 m of the ego, by family; empty where unknown.
    """

    keyframes: int
    per_keyframe: dict[str, float]
    size: dict[str, tuple[float, float, float]]
    points: dict[str, tuple[float | None, ...]]
    no_points: float
    few_points: float
    seen_with_few: float
    mean_points: float
    visibility: dict[str, float]
    speed: dict[str, float]
    moving: dict[str, float]
    sweep_points: float
    map_share: dict[str, float]
    decoys: dict[str, float]


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
        "scene",
        "log",
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
    pose = {row["token"]: row for row in tables["ego_pose"]}
    ego: dict[str, dict[str, Any]] = {}
    sizes_on_disk = []
    for row in tables["sample_data"]:
        if row["is_key_frame"] and row["calibrated_sensor_token"] in lidars:
            ego[row["sample_token"]] = pose[row["ego_pose_token"]]
            file = Path(root) / row["filename"]
            if file.exists():
                sizes_on_disk.append(file.stat().st_size / 20)
    rows = {row["token"]: row for row in tables["sample_annotation"]}

    by_class: dict[str, list[tuple[float, int, float, tuple[float, ...]]]] = {name: [] for name in TRAINVAL_BOXES}
    levels, points_of, seen_with_few = dict.fromkeys("1234", 0), [], 0
    for row in rows.values():
        name = name_of[row["instance_token"]]
        if name is None:
            continue
        x, y = row["translation"][:2]
        centre = ego[row["sample_token"]]["translation"]
        away = float(np.hypot(x - centre[0], y - centre[1]))
        first, last = rows.get(row["prev"], row), rows.get(row["next"], row)
        duration = time_of[last["sample_token"]] - time_of[first["sample_token"]]
        moved = np.hypot(*(np.array(last["translation"][:2]) - np.array(first["translation"][:2])))
        speed = float(moved / duration) if 0 < duration <= 1.6 else float("nan")
        by_class[name].append((away, int(row["num_lidar_pts"]), speed, tuple(row["size"])))
        if row["visibility_token"] in levels:
            levels[row["visibility_token"]] += 1
        points_of.append(int(row["num_lidar_pts"]))
        seen_with_few += row["num_lidar_pts"] <= FEW and row["visibility_token"] in ("3", "4")
    total, counted = len(points_of), np.array(points_of)
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
        no_points=float((counted == 0).mean()),
        few_points=float(((counted > 0) & (counted <= FEW)).mean()),
        seen_with_few=seen_with_few / total,
        mean_points=float(counted.mean()),
        visibility={level: count / total for level, count in levels.items()},
        speed=speed_mean,
        moving=moving,
        sweep_points=float(np.mean(sizes_on_disk)) if sizes_on_disk else float("nan"),
        map_share=map_shares(Path(root), _places(tables, ego)),
        decoys=_decoys(Path(root), tables, ego),
    )


def _scene_of(tables: dict[str, list[dict[str, Any]]], key: str) -> dict[str, str]:
    """By sample token: the scene's name, or the location of its log."""
    location = {row["token"]: row["location"] for row in tables["log"]}
    value = {row["token"]: row["name"] if key == "name" else location[row["log_token"]] for row in tables["scene"]}
    return {row["token"]: value[row["scene_token"]] for row in tables["sample"]}


def _places(
    tables: dict[str, list[dict[str, Any]]], ego: dict[str, dict[str, Any]]
) -> dict[str, list[tuple[float, float, float]]]:
    """The ego's x, y (m) and yaw at every keyframe, by location."""
    places: dict[str, list[tuple[float, float, float]]] = {}
    for sample, location in _scene_of(tables, "location").items():
        forward = rotation_of(ego[sample]["rotation"])[:, 0]
        x, y, _ = ego[sample]["translation"]
        places.setdefault(location, []).append((x, y, float(np.arctan2(forward[1], forward[0]))))
    return places


def _decoys(root: Path, tables: dict[str, list[dict[str, Any]]], ego: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Decoys a keyframe within the annotation range, by family."""
    file = root / DECOYS
    if not file.exists():
        return {}
    try:
        by_scene = json.loads(file.read_text())
        counts: dict[str, int] = {}
        for sample, scene in _scene_of(tables, "name").items():
            x, y = ego[sample]["translation"][:2]
            for row in by_scene.get(scene, []):
                near = np.hypot(row["translation"][0] - x, row["translation"][1] - y) < ANNOTATION_RANGE
                counts[row["family"]] = counts.get(row["family"], 0) + bool(near)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: cannot be read ({error!r}); accepted: a list of decoys by scene") from None
    return {family: count / len(tables["sample"]) for family, count in sorted(counts.items())}
