"""What is wrong with the files of a data root: images, LiDAR points, occupancy labels, maps."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bevlite.data.classes import CAMERAS, LIDAR
from bevlite.data.images import read_image
from bevlite.data.lidar import read_points
from bevlite.data.occupancy import read_occupancy
from bevlite.data.problems import Problems
from bevlite.data.raw_tables import RawTables, Row
from bevlite.data.vector_map import map_file, read_vector_map
from bevlite.errors import DataError

Job = Callable[[], None]
POINT_BYTES = 20  # x, y, z, intensity, ring as float32


def check_files(
    root: Path,
    tables: RawTables,
    problems: Problems,
    *,
    quick: bool = False,
    workers: int | None = None,
    advance: Callable[[int, int], None] | None = None,
) -> None:
    """Look at every file that BEVLite reads: keyframe images, all LiDAR files, occupancy labels, maps.

    Args:
        root: the data root.
        tables: its tables.
        problems: receives what is wrong.
        quick: existence and size only; nothing is decoded.
        workers: threads; one a core by default.
        advance: told (done, all) after each file.
    """
    jobs: list[Job] = [partial(_check_map, root, row, problems) for row in tables.rows["map"]]
    jobs += [partial(_check_vector_map, path, problems, quick) for path in vector_maps(root, tables)]
    for row in tables.rows["sample_data"]:
        channel = tables.channel(row)
        if channel == LIDAR:
            jobs.append(partial(_check_points, root, row, problems, quick))
        elif channel in CAMERAS and row["is_key_frame"]:
            jobs.append(partial(_check_image, root, row, problems, quick))
    jobs += _occupancy_jobs(root, tables, problems, quick)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        try:
            for done, _ in enumerate(pool.map(lambda job: job(), jobs), 1):
                if advance is not None:
                    advance(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def vector_maps(root: Path, tables: RawTables) -> list[Path]:
    """The vector maps of the locations of all logs that have one."""
    locations = {str(row["location"]) for row in tables.rows["log"] if row.get("location")}
    return [path for path in (root / map_file(location) for location in sorted(locations)) if path.is_file()]


def occupancy_file(root: Path, scene: str, sample: str) -> Path:
    """Where Occ3D keeps the labels of a sample."""
    return root / "gts" / scene / sample / "labels.npz"


def _size(path: Path, problems: Problems) -> int | None:
    """Bytes of a file; None, and a problem, where there is no file or nothing in it."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError:
        size = None
    if size is None:
        problems.error("missing_file", str(path), "the file is missing")
    elif size == 0:
        problems.error("empty_file", str(path), "the file is empty")
    return size or None


def _check_map(root: Path, row: Row, problems: Problems) -> None:
    if not (root / str(row["filename"])).is_file():
        problems.error("missing_file", str(root / str(row["filename"])), "the map is missing; the devkit stops on it")


def _check_vector_map(path: Path, problems: Problems, quick: bool) -> None:
    if _size(path, problems) is not None and not quick:
        _read(partial(read_vector_map, path), path, "bad_vector_map", problems)


def _check_points(root: Path, row: Row, problems: Problems, quick: bool) -> None:
    path = root / str(row["filename"])
    size = _size(path, problems)
    if size is None:
        return
    if size % POINT_BYTES:
        text = f"{size} bytes; accepted: a multiple of {POINT_BYTES}"
        problems.error("truncated_points", str(path), text)
    elif not quick:
        _read(partial(read_points, path), path, "bad_points", problems)


def _check_image(root: Path, row: Row, problems: Problems, quick: bool) -> None:
    path = root / str(row["filename"])
    if _size(path, problems) is None or quick:
        return
    try:
        image = read_image(path)
    except DataError as error:
        problems.error("bad_image", str(path), _without_path(error, path))
        return
    if (image.width, image.height) != (row["width"], row["height"]):
        text = f"is {image.width} x {image.height} px, the table says {row['width']} x {row['height']}"
        problems.warning("image_size", str(path), text)


def _occupancy_jobs(root: Path, tables: RawTables, problems: Problems, quick: bool) -> list[Job]:
    """Labels are all there or all absent: a head for them can be trained on the former only."""
    files = {}
    for sample in tables.rows["sample"]:
        scene = tables.by["scene"].get(sample["scene_token"])
        if scene is not None:
            files[sample["token"]] = occupancy_file(root, str(scene["name"]), sample["token"])
    present = {token for token, file in files.items() if file.is_file()}
    if not present:
        return []
    for token in files.keys() - present:
        text = "the occupancy labels are missing, other samples have them; an occupancy head cannot be trained"
        problems.error("missing_occupancy", str(files[token]), text)
    return [partial(_check_occupancy, files[token], problems, quick) for token in present]


def _check_occupancy(path: Path, problems: Problems, quick: bool) -> None:
    if _size(path, problems) is not None and not quick:
        _read(partial(read_occupancy, path), path, "bad_occupancy", problems)


def _read(reader: Callable[[], object], path: Path, kind: str, problems: Problems) -> None:
    try:
        reader()
    except DataError as error:
        problems.error(kind, str(path), _without_path(error, path))


def _without_path(error: DataError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
