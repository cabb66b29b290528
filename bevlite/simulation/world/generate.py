"""Make a whole world: scenes in parallel, finished ones kept, tables at the end."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bevlite.config import write_atomic
from bevlite.data.classes import CAMERAS, LIDAR
from bevlite.errors import DataError
from bevlite.simulation.world.rules import DEFAULT_WORLD, RULES
from bevlite.simulation.world.scene import SceneMaker
from bevlite.simulation.world.spec import SceneSpec
from bevlite.simulation.world.tables import DECOYS, write_tables

METADATA = "world.json"
_RECORDS = ".world"
MINI_SCENES = 10


@dataclass(frozen=True)
class WorldSummary:
    """What was made: where, which version, how many scenes, samples and boxes, and how long it took."""

    root: Path
    version: str
    train_scenes: tuple[str, ...]
    val_scenes: tuple[str, ...]
    samples: int
    boxes: int
    made_scenes: int
    kept_scenes: int
    seconds: float


def scene_names(scenes: int, val_scenes: int | None) -> tuple[str, list[str], list[str]]:
    """Version, training scenes and validation scenes under nuScenes' official names.

    Up to 10 scenes are `v1.0-mini`, more are `v1.0-trainval`. By default a fifth of a mini world and a third
    of a larger one is for validation.

    Raises:
        DataError: more scenes are asked for than the official splits name.
    """
    from nuscenes.utils import splits

    mini = scenes <= MINI_SCENES
    train, val = (splits.mini_train, splits.mini_val) if mini else (splits.train, splits.val)
    if val_scenes is None:
        # A single scene can only be for training.
        val_scenes = 0 if scenes == 1 else max(1, round(scenes / (5 if mini else 3)))
    train_scenes = scenes - val_scenes
    if not 0 <= val_scenes <= len(val) or not 0 <= train_scenes <= len(train):
        raise DataError(
            f"scenes: found {train_scenes} for training and {val_scenes} for validation; accepted: at most "
            f"{len(train)} and {len(val)} in {'v1.0-mini' if mini else 'v1.0-trainval'}"
        )
    version = "v1.0-mini" if mini else "v1.0-trainval"
    return version, list(train[:train_scenes]), list(val[:val_scenes])


def _make(spec: SceneSpec, root: Path) -> tuple[str, float]:
    """Make one scene and record that it is finished; the record is the last thing written."""
    started = time.perf_counter()
    rows = SceneMaker(spec, root).make()
    write_atomic(_record(root, spec.name), json.dumps(rows, allow_nan=False))
    return spec.name, time.perf_counter() - started


def _record(root: Path, scene: str) -> Path:
    return root / _RECORDS / f"{scene}.json"


def _check(scenes: int, samples: int, sweeps: int, image_scale: float, jpeg_quality: int, world: int) -> None:
    for name, value, accepted, valid in (
        ("scenes", scenes, "1 or more", scenes >= 1),
        ("samples", samples, "2 to 80", 2 <= samples <= 80),
        ("sweeps", sweeps, "0 to 9", 0 <= sweeps <= 9),
        ("image-scale", image_scale, "0.1 to 1.0", 0.1 <= image_scale <= 1.0),
        ("jpeg-quality", jpeg_quality, "10 to 100", 10 <= jpeg_quality <= 100),
        ("world", world, " or ".join(str(version) for version in RULES), world in RULES),
    ):
        if not valid:
            raise DataError(f"{name}: found {value}; accepted: {accepted}")


def _prepare(root: Path, metadata: dict[str, Any]) -> None:
    """Make the folders, and refuse a folder that holds something else.

    Raises:
        DataError: the folder holds a world of other parameters, or files that are no world.
    """
    existing = root / METADATA
    if existing.exists():
        try:
            found = json.loads(existing.read_text())
        except ValueError:
            raise DataError(f"{existing}: not a world's metadata; accepted: an empty folder") from None
        different = [key for key in metadata if found.get(key) != metadata[key]]
        if different:
            key = different[0]
            raise DataError(
                f"{root}: holds a world with {key} {found.get(key)}, not {metadata[key]}; "
                "accepted: the same parameters, or another folder"
            )
    elif root.exists() and not root.is_dir():
        raise DataError(f"{root}: found a file; accepted: a new or empty folder")
    elif root.exists() and any(not path.name.startswith(f".{METADATA}") for path in root.iterdir()):
        raise DataError(f"{root}: is not empty and holds no world; accepted: a new or empty folder")
    if not existing.exists():  # before the folders: a run that is killed in between can go on
        write_atomic(existing, json.dumps(metadata, indent=1) + "\n")
    for leftover in root.rglob(".*.part"):  # of a run that was killed while writing
        leftover.unlink(missing_ok=True)
    for channel in (*CAMERAS, LIDAR):
        (root / "samples" / channel).mkdir(parents=True, exist_ok=True)
    for folder in (f"sweeps/{LIDAR}", "maps", "gts", _RECORDS):
        (root / folder).mkdir(parents=True, exist_ok=True)


def generate_world(
    out: Path,
    *,
    scenes: int = 10,
    samples: int = 20,
    seed: int = 0,
    sweeps: int = 9,
    val_scenes: int | None = None,
    image_scale: float = 1.0,
    jpeg_quality: int = 90,
    world: int = DEFAULT_WORLD,
    workers: int | None = None,
    report: Callable[[str], None] | None = None,
) -> WorldSummary:
    """Make a world in nuScenes format under `out`; the same parameters give the same bytes.

    Scenes that a stopped run has finished are kept. The tables are written when all scenes are there.

    Args:
        out: the data root; new, empty, or a world of the same parameters.
        scenes: how many; up to 10 are `v1.0-mini`, more are `v1.0-trainval`.
        samples: keyframes a scene, at 2 Hz.
        seed: what the world is made from.
        sweeps: LiDAR sweeps before each keyframe but the first, at 20 Hz (0..9).
        val_scenes: how many of the scenes carry names of the validation split.
        image_scale: image size as a share of 1600 x 900.
        jpeg_quality: 10..100.
        world: version of the world, 1 or 2; figures of different versions are never put side by side.
        workers: processes; all cores by default. The bytes do not depend on it.
        report: receives one line for each finished scene.

    Raises:
        DataError: a parameter is out of range, or `out` holds something else.
        OSError: the disk is full or cannot be written; finished scenes stay.
    """
    started = time.perf_counter()
    _check(scenes, samples, sweeps, image_scale, jpeg_quality, world)
    version, train, val = scene_names(scenes, val_scenes)
    names = train + val
    metadata: dict[str, Any] = {
        "world_version": world,
        "version": version,
        "seed": seed,
        "scenes": scenes,
        "samples": samples,
        "sweeps": sweeps,
        "image_scale": image_scale,
        "jpeg_quality": jpeg_quality,
        "train_scenes": train,
        "val_scenes": val,
    }
    root = Path(out)
    _prepare(root, metadata)
    specs = [
        SceneSpec(name, index, seed, samples, sweeps, image_scale, jpeg_quality, world)
        for index, name in enumerate(names)
    ]
    missing = [spec for spec in specs if not _record(root, spec.name).exists()]
    kept = len(specs) - len(missing)
    say = report or (lambda line: None)
    if kept:
        say(f"{kept} of {len(specs)} scenes are there already")
    done = kept
    for name, seconds in _run(missing, root, workers or os.cpu_count() or 1):
        done += 1
        say(f"{name}: {samples} samples in {seconds:.1f} s ({done} of {len(specs)})")
    rows = [json.loads(_record(root, name).read_text()) for name in names]
    write_tables(root / version, rows)
    if RULES[world].decoys:
        decoys = {name: of_scene["decoys"] for name, of_scene in zip(names, rows, strict=True)}
        write_atomic(root / DECOYS, json.dumps(decoys, indent=0, allow_nan=False))
    return WorldSummary(
        root=root,
        version=version,
        train_scenes=tuple(train),
        val_scenes=tuple(val),
        samples=sum(len(r["sample"]) for r in rows),
        boxes=sum(len(r["sample_annotation"]) for r in rows),
        made_scenes=len(missing),
        kept_scenes=kept,
        seconds=time.perf_counter() - started,
    )


def _end_with_parent(parent: int, stop: Any) -> None:
    """Let a worker process end when it is told to, or the process that started it is gone, even if it was killed."""

    def watch() -> None:
        while os.getppid() == parent and not stop.wait(0.5):
            pass
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches all: the parent alone answers it
    threading.Thread(target=watch, daemon=True).start()


def _run(specs: list[SceneSpec], root: Path, workers: int) -> Any:
    """Make scenes, yielding (name, seconds) as each one is finished."""
    if workers <= 1 or len(specs) <= 1:
        for spec in specs:
            yield _make(spec, root)
        return
    method = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(method)
    count = min(workers, len(specs))
    stop = context.Event()
    with ProcessPoolExecutor(count, context, _end_with_parent, (os.getpid(), stop)) as pool:
        waiting = {pool.submit(_make, spec, root) for spec in specs}
        try:
            while waiting:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        except BaseException as error:
            for future in waiting:
                future.cancel()
            if not isinstance(error, Exception):
                stop.set()  # Ctrl-C: a scene that is begun could take a minute more; it is made anew next time
            raise
