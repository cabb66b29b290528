"""The 13 tables of nuScenes v1.0: what never changes, and putting the scenes' rows together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bevlite.config import write_atomic
from bevlite.data.classes import ATTRIBUTES, CAMERAS, CATEGORIES, LIDAR, VISIBILITY
from bevlite.simulation.world.seeding import token

Row = dict[str, Any]

DECOYS = "decoys.json"  # what looks like an object and is none, by scene; no table of nuScenes

SCENE_TABLES = (
    "scene",
    "log",
    "map",
    "calibrated_sensor",
    "sample",
    "sample_data",
    "ego_pose",
    "instance",
    "sample_annotation",
)


def fixed_tables() -> dict[str, list[Row]]:
    """The tables that are the same in every world."""
    return {
        "category": [
            {"token": token("category", name), "name": name, "description": "", "index": index}
            for index, name in enumerate(CATEGORIES)
        ],
        "attribute": [{"token": token("attribute", name), "name": name, "description": ""} for name in ATTRIBUTES],
        "visibility": [
            {"token": level, "level": name, "description": f"visibility {name[1:]} %"}
            for level, name in VISIBILITY.items()
        ],
        "sensor": [{"token": token("sensor", channel), "channel": channel, "modality": "camera"} for channel in CAMERAS]
        + [{"token": token("sensor", LIDAR), "channel": LIDAR, "modality": "lidar"}],
    }


def write_tables(folder: Path, scenes: list[dict[str, list[Row]]]) -> None:
    """Write the 13 tables of a version into `folder`, scenes in the given order."""
    tables = fixed_tables()
    for name in SCENE_TABLES:
        tables[name] = [row for scene in scenes for row in scene[name]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        write_atomic(folder / f"{name}.json", json.dumps(rows, indent=0, allow_nan=False))
