"""3D detection: centre heat maps and box values (Yin et al., CVPR 2021), scored by the official nuScenes devkit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.data.frame import Reader
from bevlite.data.truth import BoxTruth
from bevlite.errors import DataError
from bevlite.registry import DETECTION_HEADS
from bevlite.runtime.decoding import BOX_CHANNELS, BoxDecoding, Boxes, decode_boxes
from bevlite.tasks.contract import TASKS, Arrays, DrawnBoxes, Picture, RawMap, Scored, Task

if TYPE_CHECKING:
    from torch import Tensor

    from bevlite.data.index import Index

HEATMAP, BOXES = "heatmap", "boxes"
"""The raw maps: logits (10, ny, nx), and box values (10 a group, ny, nx), group after group."""
SUMMARY = ("mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "NDS")


@dataclass(frozen=True)
class BoxForm:
    """How a head groups the classes: each group has box values of its own. The one place that knows the groups."""

    groups: tuple[tuple[str, ...], ...]

    @property
    def channels(self) -> tuple[tuple[int, ...], ...]:
        """Heat map channels of each group."""
        return tuple(tuple(DETECTION_CLASSES.index(name) for name in group) for group in self.groups)


FORMS: dict[str, BoxForm] = {
    "six": BoxForm(
        (
            ("car",),
            ("truck", "construction_vehicle"),
            ("bus", "trailer"),
            ("barrier",),
            ("motorcycle", "bicycle"),
            ("pedestrian", "traffic_cone"),
        )
    ),
    "one": BoxForm((DETECTION_CLASSES,)),
}
"""`six`: the task groups of CenterPoint; `one`: box values that all ten classes share."""


@TASKS.register
class Detection(Task):
    """Boxes of ten classes with size, heading and velocity. Its head's configuration says `groups`."""

    name = "detection"
    heads = DETECTION_HEADS
    weights = {"heatmap": 1.0, "box": 0.25, "velocity": 0.2}
    """Velocity counts `velocity` within `box` (CenterPoint's code weights)."""
    scores = {"nds": "NDS", "map": "mAP"}
    steps = ("decoding",)

    @property
    def form(self) -> BoxForm:
        """The form that the head has."""
        return FORMS[self.head.groups]

    @property
    def maps(self) -> tuple[RawMap, ...]:
        """Heat map and box values."""
        ny, nx = self.bev.ny, self.bev.nx
        return (
            RawMap(HEATMAP, (1, len(DETECTION_CLASSES), ny, nx), ("batch", "class", "y", "x")),
            RawMap(BOXES, (1, BOX_CHANNELS * len(self.form.groups), ny, nx), ("batch", "value", "y", "x")),
        )

    @property
    def truth(self) -> Reader:
        """Boxes and labels."""
        return BoxTruth()

    def check_training(self, root: Path, split: str, index: Index, rows: np.ndarray) -> None:
        """At least one box."""
        if not any(index.usable_boxes(row).any() for row in rows):
            raise DataError(
                f"{root}: no sample of split '{split}' has a box of a detection class with LiDAR points; "
                "accepted: data with boxes, or heads.detection: null"
            )

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Focal loss of the heat map, L1 of the box values."""
        from bevlite.losses.targets import box_targets
        from bevlite.losses.terms import box_loss, gaussian_focal_loss  # imports torch

        targets = box_targets(batch["boxes"], batch["labels"], self.bev)
        box = box_loss(outputs[BOXES], targets, self.form.channels, weights["velocity"])
        return {
            "heatmap": weights["heatmap"] * gaussian_focal_loss(outputs[HEATMAP], targets.heatmap),
            "box": weights["box"] * box,
        }

    def decode(self, outputs: Mapping[str, np.ndarray], i: int) -> Boxes:
        """Boxes of sample `i` of a batch."""
        bev = self.bev
        decoding = BoxDecoding(bev.x_range_m[0], bev.y_range_m[0], bev.cell_m, self.form.channels)
        return decode_boxes(outputs[HEATMAP][i], outputs[BOXES][i], decoding)

    def result(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int) -> Arrays:
        """Decoded boxes (K, 9), scores (K,) and classes (K,), best first."""
        found = self.decode(outputs, i)
        return {"boxes": found.boxes, "scores": found.scores, "classes": found.classes}

    def score(self, results: Mapping[str, Arrays], scored: Scored) -> dict[str, Any]:
        """NDS, mAP, the five errors and figures by class; leaves `nusc_results.json`."""
        from bevlite.metrics.detection import evaluate_submission, write_submission  # loads the devkit

        submission = scored.folder / "nusc_results.json"
        detections = {
            int(row): Boxes(found["boxes"], found["scores"], found["classes"])
            for row, found in zip(scored.rows, (results[token] for token in scored.tokens()), strict=True)
        }
        write_submission(submission, scored.index, detections, scored.camera, scored.lidar)
        return evaluate_submission(scored.data, scored.split, submission)

    @classmethod
    def table(cls, figures: Mapping[str, Any]) -> str:
        """The table of the devkit."""
        lines = [f"{name + ':':6} {figures[name]:.4f}" for name in SUMMARY]
        lines += ["", f"{'Object class':22}{'AP':>8}{'ATE':>8}{'ASE':>8}{'AOE':>8}{'AVE':>8}{'AAE':>8}"]
        for name, row in figures["per_class"].items():
            lines.append(f"{name:22}" + "".join(_cell(row[key]) for key in ("AP", "ATE", "ASE", "AOE", "AVE", "AAE")))
        return "\n".join(lines)

    def picture(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], min_score: float) -> Picture:
        """Boxes, from a score on."""
        labels = batch["labels"][0].numpy()
        truth = DrawnBoxes(batch["boxes"][0].numpy()[labels >= 0], labels[labels >= 0])
        found = self.decode(outputs, 0)
        keep = found.scores >= min_score
        return Picture(truth, DrawnBoxes(found.boxes[keep], found.classes[keep], found.scores[keep]), DETECTION_CLASSES)


def _cell(value: float | None) -> str:
    return f"{'nan':>8}" if value is None else f"{value:8.3f}"
