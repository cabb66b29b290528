"""Everything that is wrong with a data root, found at once and without the devkit, which stops at the first."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bevlite.data.check_files import check_files, occupancy_file, vector_maps
from bevlite.data.check_tables import box_sizes, check_tables
from bevlite.data.classes import CAMERAS, DETECTION_CLASSES, LIDAR, detection_class
from bevlite.data.config import SPLITS_FILE, VERSIONS, own_splits, split_scenes
from bevlite.data.problems import Problem, Problems
from bevlite.data.raw_tables import RawTables, Row
from bevlite.errors import DataError

SPLITS = {"v1.0-mini": ("mini_train", "mini_val"), "v1.0-trainval": ("train", "val"), "v1.0-test": ("test",)}
OTHER = "not evaluated"


@dataclass(frozen=True)
class ClassStatistics:
    """Boxes of one detection class (or of all that are not evaluated); sizes in m, means."""

    boxes: int
    without_points: int
    median_points: float | None
    length_m: float | None
    width_m: float | None
    height_m: float | None


@dataclass(frozen=True)
class CheckReport:
    """What a root holds, and every problem found."""

    root: str
    version: str
    quick: bool
    counts: dict[str, int]
    samples_of_split: dict[str, int]
    classes: dict[str, ClassStatistics]
    problems: list[Problem]
    seconds: float

    @property
    def errors(self) -> int:
        """Problems on which training or evaluation would stop."""
        return sum(problem.severity == "error" for problem in self.problems)

    @property
    def warnings(self) -> int:
        """The other problems."""
        return len(self.problems) - self.errors

    def as_json(self) -> str:
        """The report as JSON, with all problems."""
        content = {"errors": self.errors, "warnings": self.warnings, **asdict(self)}
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


def check_root(
    root: Path,
    version: str | None = None,
    *,
    quick: bool = False,
    workers: int | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a data root in nuScenes format, whatever its state.

    Args:
        root: the data root.
        version: the folder of the tables; by default the one that is there.
        quick: files are checked for existence and size only.
        workers: threads that read files; one a core by default.
        advance: told (files done, files in all).

    Raises:
        DataError: the root is missing, or holds no tables at all.
    """
    began = time.monotonic()
    version = version or _version(root)
    if not any((root / version).glob("*.json")):
        raise DataError(f"{root}: holds no nuScenes tables ({version}/*.json); accepted: a root with tables")
    problems = Problems()
    tables = RawTables(root / version, problems)
    annotated = version != "v1.0-test"
    check_tables(tables, problems, annotated=annotated)
    samples_of_split = _check_splits(root, tables, version, problems, annotated)
    check_files(root, tables, problems, quick=quick, workers=workers, advance=advance)
    return CheckReport(
        root=str(root),
        version=version,
        quick=quick,
        counts=_counts(root, tables),
        samples_of_split=samples_of_split,
        classes=_classes(tables),
        problems=problems.sorted(),
        seconds=round(time.monotonic() - began, 2),
    )


def _version(root: Path) -> str:
    if not root.is_dir():
        raise DataError(f"{root}: no such data root; accepted: a folder in nuScenes format")
    found = [name for name in (*VERSIONS, "v1.0-test") if any((root / name).glob("*.json"))]
    if not found:
        raise DataError(f"{root}: holds no nuScenes tables ({' or '.join(VERSIONS)}); accepted: a root with tables")
    return found[0]


def _check_splits(
    root: Path, tables: RawTables, version: str, problems: Problems, annotated: bool
) -> dict[str, int]:  # fmt: skip
    """Samples of each split, official or own; one without samples or without boxes cannot be used."""
    try:
        own = own_splits(root / version)
    except DataError as error:
        problems.error("bad_splits", str(root / version), str(error))
        own = {}
    names = {row["token"]: row["name"] for row in tables.rows["scene"]}
    scene_of = {row["token"]: names.get(row["scene_token"], "") for row in tables.rows["sample"]}
    samples = Counter(scene_of.values())
    boxes = Counter(scene_of.get(row["sample_token"], "") for row in tables.rows["sample_annotation"])
    result = {}
    for split, scenes in own.items():
        for name in sorted(set(scenes) - set(names.values())):
            problems.error("unknown_scene", split, f"scene '{name}' of splits.json is not in scene.json")
    for split in (*SPLITS.get(version, ()), *own):
        scenes = split_scenes(split, own)
        result[split] = sum(samples[name] for name in scenes)
        if not result[split] and split not in own and own:
            continue  # who has lists of their own does without the official ones
        if not result[split]:
            problems.warning("empty_split", split, "the root holds no sample of this split")
        elif annotated and not sum(boxes[name] for name in scenes):
            problems.error("split_without_boxes", split, "no sample of this split has a box; detection needs some")
    if tables.rows["sample"] and not sum(result.values()):
        example = '{"my_train": ["scene-a", ...], "my_val": [...]}'
        text = f"no scene of the root is in a split: name yours in {version}/{SPLITS_FILE}, such as {example}"
        problems.error("no_split", str(root), text)
    return result


def _counts(root: Path, tables: RawTables) -> dict[str, int]:
    channels = [(tables.channel(row), bool(row["is_key_frame"])) for row in tables.rows["sample_data"]]
    names = {row["token"]: str(row["name"]) for row in tables.rows["scene"]}
    labels = [occupancy_file(root, names.get(row["scene_token"], ""), row["token"]) for row in tables.rows["sample"]]
    return {
        "scenes": len(tables.rows["scene"]),
        "samples": len(tables.rows["sample"]),
        "images": sum(key and channel in CAMERAS for channel, key in channels),
        "lidar_keyframes": sum(key and channel == LIDAR for channel, key in channels),
        "lidar_sweeps": sum(not key and channel == LIDAR for channel, key in channels),
        "boxes": len(tables.rows["sample_annotation"]),
        "occupancy_labels": sum(file.is_file() for file in labels),
        "vector_maps": len(vector_maps(root, tables)),
    }


def _classes(tables: RawTables) -> dict[str, ClassStatistics]:
    rows_of: dict[str, list[Row]] = {name: [] for name in (*DETECTION_CLASSES, OTHER)}
    for row in tables.rows["sample_annotation"]:
        index = detection_class(tables.category(row))
        rows_of[OTHER if index < 0 else DETECTION_CLASSES[index]].append(row)
    return {name: _statistics(rows) for name, rows in rows_of.items()}


def _statistics(rows: list[Row]) -> ClassStatistics:
    points = [row["num_lidar_pts"] for row in rows if isinstance(row["num_lidar_pts"], int)]
    sizes = box_sizes(rows)
    width, length, height = np.mean(sizes, axis=0).round(3).tolist() if sizes else (None, None, None)
    return ClassStatistics(
        boxes=len(rows),
        without_points=sum(count == 0 for count in points),
        median_points=float(np.median(points)) if points else None,
        length_m=length,
        width_m=width,
        height_m=height,
    )
