"""The nuScenes tables as plain JSON, read without the devkit: a damaged root can still be looked at."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from bevlite.data.problems import Problems

Row = dict[str, Any]

FIELDS: dict[str, tuple[str, ...]] = {
    "category": ("token", "name"),
    "attribute": ("token", "name"),
    "visibility": ("token", "level"),
    "instance": ("token", "category_token"),
    "sensor": ("token", "channel", "modality"),
    "calibrated_sensor": ("token", "sensor_token", "translation", "rotation", "camera_intrinsic"),
    "ego_pose": ("token", "timestamp", "rotation", "translation"),
    "log": ("token",),
    "scene": ("token", "name", "log_token", "nbr_samples", "first_sample_token", "last_sample_token"),
    "sample": ("token", "timestamp", "prev", "next", "scene_token"),
    "sample_data": (
        "token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp", "is_key_frame",
        "height", "width", "filename", "prev", "next",
    ),
    "sample_annotation": (
        "token", "sample_token", "instance_token", "visibility_token", "attribute_tokens", "translation", "size",
        "rotation", "prev", "next", "num_lidar_pts",
    ),
    "map": ("token", "filename", "log_tokens"),
}  # fmt: skip
"""The 13 tables, and the fields of each that are read."""


class RawTables:
    """All tables: `rows[table]` in file order and `by[table]` by token. What cannot be used is left out, and said."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.by: dict[str, dict[str, Row]] = {}
        for table, fields in FIELDS.items():
            rows = _read(folder / f"{table}.json", fields, problems)
            self.rows[table] = rows
            self.by[table] = {row["token"]: row for row in rows}
            repeated = len(rows) - len(self.by[table])
            if repeated:
                problems.warning("repeated_token", f"{table}.json", f"{repeated} rows repeat the token of another")

    def channel(self, data: Row) -> str:
        """Channel of a `sample_data` row; '' where its calibration or sensor is not known."""
        calibration = self.by["calibrated_sensor"].get(data["calibrated_sensor_token"], {})
        sensor = self.by["sensor"].get(calibration.get("sensor_token", ""), {})
        return str(sensor.get("channel", ""))

    def category(self, annotation: Row) -> str:
        """Category name of a `sample_annotation` row; '' where it is not known."""
        instance = self.by["instance"].get(annotation["instance_token"], {})
        return str(self.by["category"].get(instance.get("category_token", ""), {}).get("name", ""))


def _read(file: Path, fields: tuple[str, ...], problems: Problems) -> list[Row]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        problems.error("missing_table", str(file), "the table is missing")
        return []
    except (OSError, ValueError) as error:
        problems.error("unreadable_table", str(file), f"not readable as JSON ({error})")
        return []
    if not isinstance(content, list):
        problems.error("unreadable_table", str(file), "not a list of rows")
        return []
    lacking: Counter[str] = Counter()
    rows = []
    for row in content:
        absent = [f for f in fields if f not in row] if isinstance(row, dict) else ["(not a mapping)"]
        lacking.update(absent)
        # A token that is not text could not even be looked up.
        if not absent and all(isinstance(row[f], str) for f in fields if f == "token" or f.endswith("_token")):
            rows.append(row)
        elif not absent:
            lacking["a token that is text"] += 1
    for field, count in lacking.items():
        problems.error("missing_field", str(file), f"{count} of {len(content)} rows lack {field}")
    return rows
