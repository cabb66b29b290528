"""One sample of a run as a picture: what the network found beside what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bevlite.data.classes import CAMERAS, DETECTION_CLASSES
from bevlite.data.config import DataConfig
from bevlite.data.images import read_image
from bevlite.data.index import Index, load_index
from bevlite.data.lidar import accumulate_sweeps
from bevlite.errors import BevliteError
from bevlite.inference.torch import TorchNetwork
from bevlite.models.samples import dataset_of, outline
from bevlite.reporting.scene import CameraView, save_figure, scene_figure
from bevlite.run_folder import Run
from bevlite.tasks.contract import DrawnBoxes, Picture
from bevlite.variant import Variant

TRUTH_REACH_M = 51.2
"""How far the picture of a sample reaches where no network says it."""


def draw_sample(path: Path, sample: int, out: Path, *, split: str | None = None, score: float = 0.3) -> None:
    """Run the network of `path` on one sample and write a PNG (raises BevliteError)."""
    run = Run(path)
    variant, data = run.variant(), run.data()
    index = load_index(data)
    split = split or str(data.val_split)
    rows = index.rows_of_split(split)
    row = _row_of(index, split, sample)
    dataset = dataset_of(variant, data.root, index, rows)
    batch = dataset.collate([dataset[sample]])
    outputs = TorchNetwork(run)(_alone(batch))
    figure = scene_figure(
        _views(Path(data.root), index, row),
        _points(Path(data.root), index, row),
        [task.picture(outputs, batch, score) for task in outline(variant).tasks],
        f"{variant.name}: sample {sample} of {split} ({index.scenes[row]}), predictions from score {score:g}",
        max(abs(v) for v in (*variant.bev.x_range_m, *variant.bev.y_range_m)),
        _sensors(variant),
    )
    save_figure(figure, out)


def draw_truth(data: DataConfig, sample: int, out: Path, *, split: str | None = None) -> None:
    """Draw one sample of a data root without any network, with the boxes that can be learnt (raises BevliteError)."""
    data = data.resolved()
    index, root = load_index(data), Path(data.root)
    split = split or str(data.val_split)
    row = _row_of(index, split, sample)
    usable = index.usable_boxes(row)
    annotated = slice(*index.box_start[row : row + 2])
    boxes = DrawnBoxes(index.boxes[annotated][usable], index.box_classes[annotated][usable])
    views, points = _views(root, index, row), _points(root, index, row)
    title = f"{root.name}: sample {sample} of {split} ({index.scenes[row]})"
    pictures = [Picture(boxes, class_names=DETECTION_CLASSES)]
    save_figure(scene_figure(views, points, pictures, title, TRUTH_REACH_M, "truth alone"), out)


def _row_of(index: Index, split: str, sample: int) -> int:
    """Where a sample of a split stands in the index."""
    rows = index.rows_of_split(split)
    if not 0 <= sample < len(rows):
        raise BevliteError(f"--sample: found {sample}; accepted: 0 to {len(rows) - 1} (split {split})")
    return int(rows[sample])


def _sensors(variant: Variant) -> str:
    """What the network sees, of images and points that are both shown."""
    if variant.camera is None:
        return "LiDAR only: the network does not see the images"
    return "cameras only: the network does not see the points" if variant.lidar is None else "cameras and LiDAR"


def _alone(batch: dict[str, Any]) -> dict[str, Any]:
    """A sample without the frames before it: a network with a past begins there."""
    return batch | {"first": torch.ones_like(batch["first"])} if "first" in batch else batch


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
