"""Frames from files: the samples of a package with their golden outputs, or what a user recorded in the same form."""

from __future__ import annotations

import zipfile
from typing import Any, NamedTuple

import numpy as np

from bevlite.agent.fault import Fault
from bevlite.board.contents import Package
from bevlite.board.sensors import Calibration

GOLDEN = "golden."
LARGEST_BYTES = 1 << 30
"""Of all arrays of one file, unpacked."""


class Sample(NamedTuple):
    """What `Network.infer` takes by name, and the raw maps that ONNX Runtime gives, if there are any."""

    name: str
    given: dict[str, Any]
    golden: dict[str, np.ndarray]


def read_samples(package: Package) -> list[Sample]:
    """The samples of a package (raises Fault where one is missing or changed)."""
    rows = package.manifest["samples"]
    return [read_sample(package.require(row["file"]), begins=bool(row["begins"])) for row in rows]


def read_sample(path: str, *, begins: bool = False) -> Sample:
    """One .npz file: any of images, intrinsics, camera_to_bev, points, ego_motion, and `golden.NAME`.

    `begins` a sequence: the motion is left out. Raises Fault `bad_frame` where it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > LARGEST_BYTES:
            raise Fault("bad_frame", f"{path}: found {size} bytes of arrays; accepted: at most {LARGEST_BYTES}")
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in found.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise Fault("bad_frame", f"{path}: cannot be read as a sample ({error})") from None
    given: dict[str, Any] = {name: arrays.get(name) for name in ("images", "points")}
    given["ego_motion"] = None if begins else arrays.get("ego_motion")
    given["calibration"] = _calibration(arrays)
    golden = {name[len(GOLDEN) :]: values for name, values in arrays.items() if name.startswith(GOLDEN)}
    return Sample(path, given, golden)


def _calibration(arrays: dict[str, np.ndarray]) -> Calibration | None:
    if "intrinsics" not in arrays or "camera_to_bev" not in arrays or "images" not in arrays:
        return None
    height, width = arrays["images"].shape[1:3]
    return Calibration(arrays["intrinsics"], arrays["camera_to_bev"], (height, width))
