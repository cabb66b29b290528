"""One sample of a run as a picture: what the network found beside what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bevlite.data.classes import CAMERAS, DETECTION_CLASSES
from bevlite.data.dataset import BEVDataset, collate
from bevlite.data.images import read_image
from bevlite.data.index import Index, load_index
from bevlite.data.lidar import accumulate_sweeps
from bevlite.errors import BevliteError
from bevlite.evaluation.networks import TorchNetwork
from bevlite.evaluation.run import box_decoding
from bevlite.models.detector import pillar_grid
from bevlite.reporting.scene import CameraView, DrawnBoxes, save_figure, scene_figure
from bevlite.run_folder import Run
from bevlite.runtime.decoding import decode_boxes


def draw_sample(path: Path, sample: int, out: Path, *, split: str | None = None, score: float = 0.3) -> None:
    """Run the network of `path` on one sample and write a PNG (raises BevliteError)."""
    run = Run(path)
    variant, data = run.variant(), run.data()
    index = load_index(data)
    split = split or str(data.val_split)
    rows = index.rows_of_split(split)
    if not 0 <= sample < len(rows):
        raise BevliteError(f"--sample: found {sample}; accepted: 0 to {len(rows) - 1} (split {split})")
    row = int(rows[sample])
    grid = pillar_grid(variant) if variant.lidar is not None else None
    batch = collate([BEVDataset(data.root, index, rows, variant, grid)[sample]])
    outputs = TorchNetwork(run)(batch)
    truth = DrawnBoxes(batch["boxes"][0].numpy()[batch["labels"][0] >= 0], _labels(batch), "-", 1.0)
    found = DrawnBoxes(np.zeros((0, 9)), np.zeros(0, dtype=np.int64), "--", 1.2)
    if "heatmap" in outputs:
        boxes = decode_boxes(outputs["heatmap"][0], outputs["boxes"][0], box_decoding(variant))
        keep = boxes.scores >= score
        found = DrawnBoxes(boxes.boxes[keep], boxes.classes[keep], "--", 1.2)
    occupancy = None
    if "occupancy" in outputs:
        seen = batch["occupancy_mask"][0].numpy()
        predicted = outputs["occupancy"][0].transpose(2, 1, 0)
        occupancy = tuple(np.where(seen, c, 17) for c in (batch["occupancy"][0].numpy(), predicted))
    figure = scene_figure(
        _views(Path(data.root), index, row),
        _points(Path(data.root), index, row),
        truth,
        found,
        (occupancy[0], occupancy[1]) if occupancy else None,
        DETECTION_CLASSES,
        f"{variant.name}: sample {sample} of {split} ({index.scenes[row]}), predictions from score {score:g}",
        max(abs(v) for v in (*variant.bev.x_range_m, *variant.bev.y_range_m)),
    )
    save_figure(figure, out)


def _labels(batch: dict) -> np.ndarray:
    labels: np.ndarray = batch["labels"][0].numpy()
    return labels[labels >= 0]


def _views(root: Path, index: Index, row: int) -> list[CameraView]:
    """The six images; ego motion between camera and LiDAR times is corrected, so that truth lies where it was seen."""
    order = ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT")
    views = []
    for name in order:
        n = CAMERAS.index(name)
        matrix = np.eye(4)
        matrix[:3, :3] = index.intrinsics[row, n]
        bev_to_pixel = matrix @ np.linalg.inv(index.camera_to_bev[row, n])
        views.append(CameraView(name, read_image(root / str(index.camera_files[row, n])), bev_to_pixel))
    return views


def _points(root: Path, index: Index, row: int) -> np.ndarray:
    """The keyframe's own sweep in the BEV frame (P, 3)."""
    start = int(index.sweep_start[row])
    one = slice(start, start + 1)
    files = [root / str(name) for name in index.sweep_files[one]]
    return accumulate_sweeps(files, index.sweep_to_bev[one], index.sweep_lag_s[one])[:, :3]
