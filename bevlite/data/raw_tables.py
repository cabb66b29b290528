"""The nuScenes tables as plain JSON, read without the devkit: a damaged root can still be looked at."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
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
NEVER_EMPTY = frozenset(FIELDS) - {"sample_annotation", "instance", "attribute", "visibility"}
"""Tables that a data set without annotations has rows in as well."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST and "\0" not in value


def _is_name(value: Any) -> bool:
    """Fit to be a part of a path, or a path below the root."""
    return _is_text(value) and bool(value) and not value.startswith("/") and ".." not in value.split("/")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(count: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) == count and all(map(_is_number, value))


def _is_matrix(value: Any) -> bool:
    """3 x 3, or nothing for what is no camera."""
    return value == [] or (isinstance(value, list) and len(value) == 3 and all(map(_numbers(3), value)))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


LONGEST = 4096
"""Letters of a text in a table."""
KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_name, "a name"),
    "filename": (_is_name, "a path below the root"),
    "timestamp": (_is_number, "a number of microseconds"),
    "nbr_samples": (_is_whole, "a whole number"),
    "is_key_frame": (lambda value: isinstance(value, bool), "true or false"),
    "attribute_tokens": (_are_texts, "a list of tokens"),
    "log_tokens": (_are_texts, "a list of tokens"),
    "translation": (_numbers(3), "three finite numbers"),
    "rotation": (_numbers(4), "four finite numbers"),
    "size": (_numbers(3), "three finite numbers"),
    "camera_intrinsic": (_is_matrix, "3 x 3 finite numbers, or an empty list"),
    "num_lidar_pts": (_is_whole, "a whole number"),
    "height": (_is_whole, "a whole number"),
    "width": (_is_whole, "a whole number"),
}
"""What a field may be; every other one is text."""


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
                problems.error("repeated_token", f"{table}.json", f"{repeated} rows repeat the token of another")

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
        content = json.loads(file.read_text(encoding="utf-8"))  # as the devkit reads them
    except FileNotFoundError:
        problems.error("missing_table", str(file), "the table is missing")
        return []
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        problems.error("unreadable_table", str(file), f"not readable as JSON ({reason})")
        return []
    if not isinstance(content, list):
        problems.error("unreadable_table", str(file), "not a list of rows")
        return []
    lacking: Counter[str] = Counter()
    wrong: dict[str, list[Row]] = {}
    rows = []
    for row in content:
        absent = [f for f in fields if f not in row] if isinstance(row, dict) else ["(not a mapping)"]
        lacking.update(absent)
        other = [f for f in fields if not _kind(f)[0](row[f])] if not absent else []
        for field in other:
            wrong.setdefault(field, []).append(row)
        if not absent and not other:
            rows.append(row)
    for field, count in lacking.items():
        problems.error("missing_field", str(file), f"{count} of {len(content)} rows lack {field}")
    for field, others in wrong.items():
        found = f"{field}: found {_short(others[0][field])} in row {_short(others[0]['token'])}"
        more = f" and {len(others) - 1} more of {len(content)}" if len(others) > 1 else ""
        problems.error("wrong_type", str(file), f"{found}{more}; accepted: {_kind(field)[1]}")
    if not content and file.stem in NEVER_EMPTY:
        problems.error("empty_table", str(file), "the table has no rows")
    return rows


def _kind(field: str) -> tuple[Callable[[Any], bool], str]:
    return KINDS.get(field, (_is_text, "text"))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
