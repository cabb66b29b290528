"""What is wrong inside the nuScenes tables: references, chains, poses, boxes, channels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bevlite.data.classes import CAMERAS, CATEGORIES, LIDAR
from bevlite.data.problems import Problems
from bevlite.data.raw_tables import RawTables, Row

CHANNELS = (*CAMERAS, LIDAR)
UNIT_TOLERANCE = 1e-3

REFERENCES = (
    ("calibrated_sensor", "sensor_token", "sensor"),
    ("instance", "category_token", "category"),
    ("scene", "log_token", "log"),
    ("scene", "first_sample_token", "sample"),
    ("scene", "last_sample_token", "sample"),
    ("sample", "scene_token", "scene"),
    ("sample_data", "sample_token", "sample"),
    ("sample_data", "ego_pose_token", "ego_pose"),
    ("sample_data", "calibrated_sensor_token", "calibrated_sensor"),
    ("sample_annotation", "sample_token", "sample"),
    ("sample_annotation", "instance_token", "instance"),
)


def check_tables(tables: RawTables, problems: Problems, *, annotated: bool = True) -> None:
    """Add every problem inside the tables to `problems`; `annotated` is false for a test set without boxes."""
    for table, field, target in REFERENCES:
        _check_references(tables, table, field, target, problems)
    _check_attributes(tables, problems)
    for table in ("sample", "sample_data", "sample_annotation"):
        _check_chain(tables, table, problems)
    _check_scenes(tables, problems)
    _check_poses(tables, problems)
    _check_categories(tables, problems)
    for annotation in tables.rows["sample_annotation"]:
        _check_box(annotation, problems)
    _check_samples(tables, problems, annotated)
    _check_logs(tables, problems)


def _check_references(tables: RawTables, table: str, field: str, target: str, problems: Problems) -> None:
    known = tables.by[target]
    if not known:
        said = any(Path(problem.where).name == f"{target}.json" for problem in problems.found)
        if tables.rows[table] and not said:  # a table that is missing or unreadable has a problem of its own
            problems.error("dangling", f"{target}.json", f"has no rows, and {table}.json names some")
        return
    for row in tables.rows[table]:
        if row[field] not in known:
            problems.error("dangling", _where(table, row), f"{field} '{row[field]}' is not in {target}.json")


def _check_attributes(tables: RawTables, problems: Problems) -> None:
    attributes, levels = tables.by["attribute"], tables.by["visibility"]
    for row in tables.rows["sample_annotation"]:
        for token in row["attribute_tokens"] if isinstance(row["attribute_tokens"], list) else ():
            if attributes and token not in attributes:
                problems.error("dangling", _where("sample_annotation", row), f"attribute '{token}' is not known")
        if row["visibility_token"] and levels and row["visibility_token"] not in levels:
            text = f"visibility_token '{row['visibility_token']}' is not in visibility.json"
            problems.warning("dangling", _where("sample_annotation", row), text)


def _check_chain(tables: RawTables, table: str, problems: Problems) -> None:
    known = tables.by[table]
    for row in tables.rows[table]:
        for there, back in (("next", "prev"), ("prev", "next")):
            if not row[there]:
                continue
            other = known.get(row[there])
            if other is None:
                problems.error("broken_chain", _where(table, row), f"{there} '{row[there]}' is not in {table}.json")
            elif other[back] != row["token"]:
                text = f"{there} is {row[there]}, whose {back} is '{other[back]}'"
                problems.warning("broken_chain", _where(table, row), text)
            elif there == "next" and "timestamp" in row and not other["timestamp"] > row["timestamp"]:
                text = f"timestamp {row['timestamp']} is not before that of next, {other['timestamp']}"
                problems.warning("timestamps", _where(table, row), text)


def _check_scenes(tables: RawTables, problems: Problems) -> None:
    in_scene = Counter(sample["scene_token"] for sample in tables.rows["sample"])
    for scene in tables.rows["scene"]:
        count = in_scene[scene["token"]]
        if count == 0:
            problems.warning("empty_scene", scene["name"], "the scene has no samples")
        elif count != scene["nbr_samples"]:
            text = f"nbr_samples is {scene['nbr_samples']}, the scene has {count}"
            problems.warning("scene_length", scene["name"], text)


def _check_poses(tables: RawTables, problems: Problems) -> None:
    cameras = {s["token"] for s in tables.rows["sensor"] if s["modality"] == "camera"}
    for table in ("ego_pose", "calibrated_sensor"):
        for row in tables.rows[table]:
            if not _finite(row["translation"], 3):
                problems.error("bad_pose", _where(table, row), f"translation is {row['translation']}")
            _check_rotation(table, row, problems)
    for row in tables.rows["calibrated_sensor"]:
        intrinsic = row["camera_intrinsic"]
        if row["sensor_token"] in cameras:
            valid = isinstance(intrinsic, list) and len(intrinsic) == 3 and all(_finite(r, 3) for r in intrinsic)
            if not valid or not (intrinsic[0][0] > 0 and intrinsic[1][1] > 0):
                problems.error("bad_intrinsics", _where("calibrated_sensor", row), f"camera_intrinsic is {intrinsic}")


def _check_rotation(table: str, row: Row, problems: Problems) -> None:
    rotation = row["rotation"]
    if not _finite(rotation, 4) or not any(rotation):
        problems.error("bad_rotation", _where(table, row), f"rotation is {rotation}; accepted: a unit quaternion")
        return
    norm = math.sqrt(sum(v * v for v in rotation))
    if abs(norm - 1) > UNIT_TOLERANCE:
        problems.warning("not_unit", _where(table, row), f"the quaternion has norm {norm:.4g}, not 1")


def _check_categories(tables: RawTables, problems: Problems) -> None:
    """Names that nuScenes does not have; boxes of them count nowhere."""
    boxes = Counter(tables.category(row) for row in tables.rows["sample_annotation"])
    for name in sorted({str(row["name"]) for row in tables.rows["category"]} | {n for n in boxes if n}):
        if name not in CATEGORIES:
            text = f"not one of nuScenes' {len(CATEGORIES)} categories; its {boxes[name]} boxes are left out"
            problems.warning("unknown_category", name, text)


def _check_box(row: Row, problems: Problems) -> None:
    where = _where("sample_annotation", row)
    if not _finite(row["translation"], 3):
        problems.error("bad_box", where, f"translation is {row['translation']}")
    if not _finite(row["size"], 3) or min(row["size"]) <= 0:
        problems.error("bad_box", where, f"size is {row['size']}; accepted: three positive metres")
    if not _number(row["num_lidar_pts"]) or row["num_lidar_pts"] < 0:
        problems.error("bad_box", where, f"num_lidar_pts is {row['num_lidar_pts']}")
    _check_rotation("sample_annotation", row, problems)


def _check_samples(tables: RawTables, problems: Problems, annotated: bool) -> None:
    channels: dict[str, set[str]] = {row["token"]: set() for row in tables.rows["sample"]}
    for row in tables.rows["sample_data"]:
        if row["is_key_frame"] and row["sample_token"] in channels:
            channels[row["sample_token"]].add(tables.channel(row))
    boxes = Counter(row["sample_token"] for row in tables.rows["sample_annotation"])
    for sample, found in channels.items():
        lacking = [name for name in CHANNELS if name not in found]
        if lacking:
            problems.error("missing_channel", f"sample {sample}", f"has no keyframe of {', '.join(lacking)}")
        if annotated and not boxes[sample]:
            problems.warning("no_boxes", f"sample {sample}", "has no boxes")
    empty = sum(row["num_lidar_pts"] == 0 for row in tables.rows["sample_annotation"])
    if empty:
        text = f"{empty} of {len(tables.rows['sample_annotation'])} boxes have no LiDAR point; training leaves them out"
        problems.warning("boxes_without_points", "sample_annotation.json", text)


def _check_logs(tables: RawTables, problems: Problems) -> None:
    mapped = {token for row in tables.rows["map"] for token in row["log_tokens"]}
    for row in tables.rows["log"]:
        if tables.rows["map"] and row["token"] not in mapped:
            problems.error("dangling", _where("log", row), "no row of map.json names this log; the devkit stops on it")


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _finite(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(_number(v) for v in values)


def _where(table: str, row: Row) -> str:
    return f"{table} {row['token']}"


def box_sizes(rows: Iterable[Row]) -> list[list[float]]:
    """Sizes (w, l, h) m of the annotations where they are usable."""
    return [row["size"] for row in rows if _finite(row["size"], 3) and min(row["size"]) > 0]
