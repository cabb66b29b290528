"""Samples that travel: what the sensors gave, and what the exported modules make of it in ONNX Runtime."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.data.classes import CAMERAS
from bevlite.data.dataset import single
from bevlite.data.index import Index, load_index
from bevlite.data.lidar import accumulate_sweeps
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.errors import BevliteError
from bevlite.export.real import real_batches
from bevlite.export.request import Request
from bevlite.models.samples import Outline, outline
from bevlite.run_folder import Run
from bevlite.runtime.resizing import pixel_matrix
from bevlite.variant import Variant

GOLDEN = "golden."
"""In front of the name of a raw map in a sample's file."""
SPARE_POINTS = 4
"""How many times the points of the largest sample a frame may have."""


@dataclass(frozen=True)
class Samples:
    """Files by their place in a package, which begin a sequence, the most points of one, and where they are from."""

    files: dict[str, bytes]
    begins: dict[str, bool]
    points: int
    source: str


def samples_of(run: Run, found: Request, count: int) -> Samples:
    """Samples of the run's data with golden outputs (raises BevliteError without data)."""
    batches, source = real_batches(run, count)
    if not batches:
        why = source.removeprefix("parity not checked: ")
        raise BevliteError(f"{run.path}: no samples for the package ({why}); accepted: a run with its data")
    variant, data = run.variant(), run.data()
    index, network = load_index(data), outline(variant)
    maps = [raw.name for task in network.tasks for raw in task.maps]
    frames = [network.deployed(single(batch, 0)) for batch in batches]
    starts = [i for i, batch in enumerate(batches) if "first" not in batch or bool(batch["first"][0])]
    golden = OnnxChain(found.files, found.feeds).frames(frames, starts)
    files, begins, points = {}, {}, 0
    for number, (batch, made) in enumerate(zip(batches, golden, strict=True)):
        name = f"data/sample-{number}.npz"
        sensors = _sensors(variant, network, str(data.root), index, batch)
        files[name] = _packed({**sensors, **{GOLDEN + key: made[key] for key in maps}})
        begins[name] = number in starts
        points = max(points, len(sensors.get("points", ())))
    return Samples(files, begins, points, source)


def _sensors(
    variant: Variant, network: Outline, root: str, index: Index, batch: dict[str, Any]
) -> dict[str, np.ndarray]:
    """What `bevlite.board.network.Network.infer` takes: images of the network's size, points, calibration, motion."""
    row, found = int(batch["row"][0]), dict[str, np.ndarray]()
    if variant.camera is not None:
        wanted = variant.camera.images
        count, size = wanted.cameras, (wanted.height, wanted.width)
        poses = index.camera_to_bev if variant.camera.view_transform.ego_motion else index.camera_to_ego
        warps = [pixel_matrix((int(h), int(w)), size) for h, w in index.camera_sizes[row, :count]]
        found["images"] = np.ascontiguousarray(batch["images"][0].numpy().transpose(0, 2, 3, 1))
        found["intrinsics"] = np.stack([w @ k for w, k in zip(warps, index.intrinsics[row, :count], strict=True)])
        found["camera_to_bev"] = poses[row, :count]
    if _takes_points(network):
        sweeps = variant.lidar.sweeps if variant.lidar is not None else 1
        start, stop = index.sweep_start[row : row + 2]
        span = slice(start, min(stop, start + sweeps))
        names = [Path(root) / str(name) for name in index.sweep_files[span]]
        found["points"] = accumulate_sweeps(names, index.sweep_to_bev[span], index.sweep_lag_s[span])
    if network.states:
        found["ego_motion"] = batch["ego_motion"][0].numpy().astype(np.float64)
    return found


def sensors_described(variant: Variant, points: int) -> dict[str, Any]:
    """The sensors as a package's manifest has them; `points` are those of its largest sample."""
    described: dict[str, Any] = {}
    if variant.camera is not None:
        images = variant.camera.images
        described["cameras"] = {
            "names": list(CAMERAS[: images.cameras]), "height": images.height, "width": images.width
        }  # fmt: skip
    if _takes_points(outline(variant)):
        most = -(-max(1, points) * SPARE_POINTS // 1000) * 1000
        sweeps = variant.lidar.sweeps if variant.lidar is not None else 1
        described["lidar"] = {"sweeps": sweeps, "most_points": most}
    return described


def _takes_points(network: Outline) -> bool:
    return any("points" in host.needs for host in network.hosts)


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    """A compressed .npz, the same bytes for the same arrays: numpy dates its members 1980."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **dict(sorted(arrays.items())))
    return stream.getvalue()
