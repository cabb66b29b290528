"""The timing cache: made where missing, bound to version and device, a foreign one refused with a warning."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.trtexec.files import write_bytes
from bevlite.simulation.jetson.trtexec.log import Log


def _identity(board: BoardFolder, release: Release) -> dict[str, Any]:
    return {"emulated": True, "tensorrt": list(release.plan_version), "module": board.module.name}


def load(log: Log, board: BoardFolder, release: Release, path: Path | None) -> set[str]:
    """Keys of the layers that were timed before; prints what trtexec says of the cache."""
    if path is None:
        log.library("Local timing cache in use. Profiling results in this builder pass will not be stored.")
        return set()
    if not path.is_file():
        log.warn(f"Could not read timing cache from: {path}. A new timing cache will be generated and written.")
        return set()
    data = path.read_bytes()
    log.info(f"Loaded {len(data)} bytes of timing cache from {path}")
    try:
        document = json.loads(data)
    except ValueError:
        document = {}
    own = _identity(board, release)
    if board.faults.take("stale_timing_cache") is not None or {key: document.get(key) for key in own} != own:
        log.warn(
            "[TRT] The timing cache was generated on a different device or by another version and is not used",
            "[TRT] Detected invalid timing cache, setup a local cache instead",
        )
        return set()
    log.library("Global timing cache in use. Profiling results in this builder pass will be stored.")
    return set(document["layers"])


def key_of(layer: dict[str, Any]) -> str:
    """What makes the tactic of a layer the same in another build."""
    shapes = [t["Dimensions"] for t in layer["inputs"] + layer["outputs"]]
    return hashlib.sha256(json.dumps([layer["LayerType"], layer["precision"], shapes]).encode()).hexdigest()[:24]


def save(log: Log, board: BoardFolder, release: Release, path: Path | None, keys: set[str]) -> None:
    """Write the cache.

    Raises:
        Failure: the disk is full, or the place cannot be written.
    """
    if path is None:
        return
    data = json.dumps({**_identity(board, release), "layers": sorted(keys)}).encode()
    write_bytes(board, path, data)
    log.info(f"Saved {len(data)} bytes of timing cache to {path}")
