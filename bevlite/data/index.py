"""The index: all that training reads from the nuScenes tables, as flat arrays in one file.

Built once by the official devkit and kept in the user's cache (BEVLITE_CACHE, else XDG_CACHE_HOME/bevlite or
~/.cache/bevlite) under a hash of the tables, as a plain npz without pickles. All poses lead to the frame of the
contracts: the ego frame of the keyframe at the LiDAR timestamp.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pyquaternion import Quaternion

from bevlite.config import write_atomic
from bevlite.data.check_tables import check_tables
from bevlite.data.classes import CAMERAS, LIDAR, detection_class
from bevlite.data.config import SPLITS_FILE, DataConfig, own_splits, split_scenes
from bevlite.data.problems import Problems
from bevlite.data.raw_tables import RawTables
from bevlite.data.vector_map import MAP_FOLDER, map_file
from bevlite.errors import DataError

if TYPE_CHECKING:
    from nuscenes import NuScenes

INDEX_VERSION = 4
MAX_SWEEPS = 10


@dataclass(frozen=True)
class Index:
    """Samples of one data root. S samples, N cameras, K sweeps in all, A annotations in all.

    Ragged data is stored flat: sample i owns sweeps sweep_start[i]:sweep_start[i + 1], newest first (the keyframe),
    and annotations box_start[i]:box_start[i + 1].
    """

    tokens: np.ndarray  # (S,) str
    scenes: np.ndarray  # (S,) str: scene name
    timestamps_us: np.ndarray  # (S,) int64
    camera_files: np.ndarray  # (S, N) str, relative to the root
    camera_sizes: np.ndarray  # (S, N, 2) int32: height, width in px
    intrinsics: np.ndarray  # (S, N, 3, 3)
    camera_to_ego: np.ndarray  # (S, N, 4, 4): the car's fixed extrinsics
    camera_to_bev: np.ndarray  # (S, N, 4, 4): with the ego motion between camera and LiDAR times
    sweep_start: np.ndarray  # (S + 1,) int64
    sweep_files: np.ndarray  # (K,) str
    sweep_to_bev: np.ndarray  # (K, 4, 4)
    sweep_lag_s: np.ndarray  # (K,) s since the sweep
    box_start: np.ndarray  # (S + 1,) int64
    boxes: np.ndarray  # (A, 9): x, y, z, l, w, h, yaw, vx, vy in the BEV frame; NaN velocity where unknown
    box_classes: np.ndarray  # (A,) int8: index in DETECTION_CLASSES, -1 otherwise
    box_points: np.ndarray  # (A,) int32: LiDAR points in the box
    box_visibility: np.ndarray  # (A,) int8: 1..4, 0 unknown
    ego_to_global: np.ndarray  # (S, 4, 4) at the LiDAR timestamp
    occupancy_files: np.ndarray  # (S,) str, '' where there is none
    map_files: np.ndarray  # (S,) str: vector map of the sample's location, '' where there is none
    own_splits: np.ndarray  # (P, 2) str: split and scene, of the root's own lists

    def __len__(self) -> int:
        return len(self.tokens)

    def usable_boxes(self, row: int) -> np.ndarray:
        """Which annotations of a sample are learnt: of a detection class, and with at least one LiDAR point."""
        start, stop = self.box_start[row : row + 2]
        # A box without a single return cannot be learnt; the official evaluation leaves it out as well.
        usable: np.ndarray = (self.box_classes[start:stop] >= 0) & (self.box_points[start:stop] > 0)
        return usable

    def rows_of_split(self, split: str) -> np.ndarray:
        """Samples of a split, official or of the root's own lists (raises DataError when there are none)."""
        own: dict[str, list[str]] = {}
        for name, scene in self.own_splits:
            own.setdefault(str(name), []).append(str(scene))  # '' for a list without scenes
        rows = np.flatnonzero(np.isin(self.scenes, split_scenes(split, own)))
        if not len(rows):
            scenes = ", ".join(dict.fromkeys(map(str, self.scenes[:200])))[:80]
            raise DataError(
                f"split '{split}': the data root holds no scene of it (it holds {scenes}, ...); accepted: a split with "
                f"scenes, of your own too: lists of scene names in {SPLITS_FILE} beside the tables"
            )
        return rows


def load_index(config: DataConfig) -> Index:
    """The index of a data root, from the cache or built anew (raises DataError)."""
    config = config.resolved()
    cache = _cache_folder() / "index" / f"{_identity(config)}.npz"
    if cache.is_file():
        try:
            with np.load(cache, allow_pickle=False) as data:
                return Index(**{field.name: data[field.name] for field in fields(Index)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            cache.unlink(missing_ok=True)  # a damaged cache is rebuilt, not trusted
    index = _build(config)
    buffer = io.BytesIO()
    np.savez(buffer, **{field.name: getattr(index, field.name) for field in fields(Index)})
    write_atomic(cache, buffer.getvalue())
    return index


def require_split(data: DataConfig, instead: str) -> None:
    """Refuse data without samples to score a network on.

    Args:
        data: resolved.
        instead: what one can do without them, for the message.

    Raises:
        DataError: there are none.
    """
    try:
        load_index(data).rows_of_split(str(data.val_split))
    except DataError as error:
        raise DataError(f"{error}; {instead}") from None


def open_nuscenes(config: DataConfig) -> NuScenes:
    """The official devkit on this root; the last one stays open (raises DataError for unreadable tables)."""
    config = config.resolved()
    return _open(config, _identity(config))


@lru_cache(maxsize=1)
def _open(config: DataConfig, identity: str) -> NuScenes:
    """`identity` changes with the tables, so that a changed root is read anew."""
    from nuscenes import NuScenes  # loads scikit-learn and matplotlib, seconds that most commands do not need

    try:
        return NuScenes(version=config.version, dataroot=config.root, verbose=False)
    except (AssertionError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"{config.root}/{config.version}: the nuScenes tables cannot be read ({detail}); "
            f"`bevlite data check {config.root}` names everything that is wrong"
        ) from None


def _cache_folder() -> Path:
    base = os.environ.get("BEVLITE_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bevlite"


def _identity(config: DataConfig) -> str:
    tables = sorted((Path(config.root) / str(config.version)).glob("*.json"))
    parts = [f"{INDEX_VERSION} {Path(config.root).resolve()} {config.version}"]
    parts += [f"{t.name} {t.stat().st_size} {t.stat().st_mtime_ns}" for t in tables]
    gts = Path(config.root) / "gts"
    parts.append(f"gts {gts.stat().st_mtime_ns if gts.is_dir() else None}")
    maps = sorted((Path(config.root) / MAP_FOLDER).glob("*.json"))
    parts.append("maps " + " ".join(path.name for path in maps))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _matrix(record: dict) -> np.ndarray:
    """(4, 4) from a table's `rotation` and `translation`."""
    matrix = np.eye(4)
    matrix[:3, :3] = Quaternion(record["rotation"]).rotation_matrix
    matrix[:3, 3] = record["translation"]
    return matrix


def require_sound_tables(config: DataConfig) -> None:
    """Refuse tables that `bevlite data check` has errors for: what it passes, training can read.

    Raises:
        DataError: with the first error, and how many there are.
    """
    folder = Path(config.root) / str(config.version)
    problems = Problems()
    tables = RawTables(folder, problems)
    check_tables(tables, problems, annotated=config.version != "v1.0-test")
    errors = [problem for problem in problems.found if problem.severity == "error"]
    if errors:
        more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        raise DataError(
            f"{folder}: the nuScenes tables cannot be read ({errors[0].where}: {errors[0].text}{more}); "
            f"`bevlite data check {config.root}` names everything that is wrong"
        )


def _build(config: DataConfig) -> Index:
    require_sound_tables(config)
    nusc = open_nuscenes(config)
    if not nusc.sample:
        raise DataError(f"{config.root}/{config.version}: the table sample.json is empty")
    scene_names = {scene["token"]: scene["name"] for scene in nusc.scene}
    map_files = _map_files(nusc, Path(config.root))
    samples = sorted(nusc.sample, key=lambda s: (scene_names[s["scene_token"]], s["timestamp"]))
    columns: dict[str, list] = {field.name: [] for field in fields(Index)}
    columns["sweep_start"].append(0)
    columns["box_start"].append(0)
    for sample in samples:
        try:
            _add_sample(nusc, sample, scene_names[sample["scene_token"]], Path(config.root), columns)
        except KeyError as error:
            raise DataError(
                f"{config.root}/{config.version}: sample {sample['token']} lacks {error} in the tables"
            ) from None
        columns["map_files"].append(map_files[sample["scene_token"]])
    own = own_splits(Path(config.root) / str(config.version))
    columns["own_splits"] = [(split, scene) for split, scenes in own.items() for scene in scenes or [""]]
    arrays = {name: np.array(values) for name, values in columns.items()}
    arrays["own_splits"] = np.array(columns["own_splits"], dtype=str).reshape(-1, 2)
    arrays["boxes"] = arrays["boxes"].reshape(-1, 9)
    for name, dtype in (("box_classes", np.int8), ("box_points", np.int32), ("box_visibility", np.int8)):
        arrays[name] = arrays[name].astype(dtype)
    return Index(**arrays)


def _map_files(nusc: NuScenes, root: Path) -> dict[str, str]:
    """The vector map of every scene by its token, relative to the root; '' where there is none."""
    location = {log["token"]: str(log.get("location", "")) for log in nusc.log}
    files = {scene["token"]: map_file(location.get(scene["log_token"], "")) for scene in nusc.scene}
    return {token: str(file) if (root / file).is_file() else "" for token, file in files.items()}


def _add_sample(nusc: NuScenes, sample: dict, scene: str, root: Path, columns: dict[str, list]) -> None:
    keyframe = nusc.get("sample_data", sample["data"][LIDAR])
    ego_to_global = _matrix(nusc.get("ego_pose", keyframe["ego_pose_token"]))
    global_to_ego = np.linalg.inv(ego_to_global)
    columns["tokens"].append(sample["token"])
    columns["scenes"].append(scene)
    columns["timestamps_us"].append(sample["timestamp"])
    columns["ego_to_global"].append(ego_to_global)
    occupancy = Path("gts") / scene / sample["token"] / "labels.npz"
    columns["occupancy_files"].append(str(occupancy) if (root / occupancy).is_file() else "")
    _add_cameras(nusc, sample, global_to_ego, columns)
    _add_sweeps(nusc, keyframe, global_to_ego, columns)
    for token in sample["anns"]:
        _add_box(nusc, token, global_to_ego, columns)
    columns["box_start"].append(len(columns["boxes"]))


def _add_cameras(nusc: NuScenes, sample: dict, global_to_ego: np.ndarray, columns: dict[str, list]) -> None:
    records = [nusc.get("sample_data", sample["data"][camera]) for camera in CAMERAS]
    calibrations = [nusc.get("calibrated_sensor", r["calibrated_sensor_token"]) for r in records]
    poses = [_matrix(nusc.get("ego_pose", r["ego_pose_token"])) for r in records]
    columns["camera_files"].append([r["filename"] for r in records])
    columns["camera_sizes"].append([[r["height"], r["width"]] for r in records])
    columns["intrinsics"].append([c["camera_intrinsic"] for c in calibrations])
    columns["camera_to_ego"].append([_matrix(c) for c in calibrations])
    columns["camera_to_bev"].append(
        [global_to_ego @ pose @ _matrix(c) for pose, c in zip(poses, calibrations, strict=True)]
    )


def _add_sweeps(nusc: NuScenes, keyframe: dict, global_to_ego: np.ndarray, columns: dict[str, list]) -> None:
    record = keyframe
    for _ in range(MAX_SWEEPS):
        calibration = nusc.get("calibrated_sensor", record["calibrated_sensor_token"])
        pose = _matrix(nusc.get("ego_pose", record["ego_pose_token"]))
        columns["sweep_files"].append(record["filename"])
        columns["sweep_to_bev"].append(global_to_ego @ pose @ _matrix(calibration))
        columns["sweep_lag_s"].append((keyframe["timestamp"] - record["timestamp"]) / 1e6)
        if not record["prev"]:
            break
        record = nusc.get("sample_data", record["prev"])
    columns["sweep_start"].append(len(columns["sweep_files"]))


def _add_box(nusc: NuScenes, token: str, global_to_ego: np.ndarray, columns: dict[str, list]) -> None:
    annotation = nusc.get("sample_annotation", token)
    centre = global_to_ego[:3, :3] @ annotation["translation"] + global_to_ego[:3, 3]
    ahead = global_to_ego[:3, :3] @ Quaternion(annotation["rotation"]).rotation_matrix[:, 0]
    velocity = global_to_ego[:3, :3] @ np.nan_to_num(nusc.box_velocity(token), nan=np.nan)
    width, length, height = annotation["size"]
    yaw = np.arctan2(ahead[1], ahead[0])
    if not np.isfinite([*centre, width, length, height, yaw]).all() or min(annotation["size"]) <= 0:
        raise DataError(
            f"sample_annotation {token}: found translation {annotation['translation']}, size {annotation['size']}, "
            f"rotation {annotation['rotation']}; accepted: finite numbers and a positive size"
        )
    columns["boxes"].append([*centre, length, width, height, yaw, velocity[0], velocity[1]])
    columns["box_classes"].append(detection_class(annotation["category_name"]))
    columns["box_points"].append(annotation["num_lidar_pts"])
    columns["box_visibility"].append(int(annotation["visibility_token"] or 0))
