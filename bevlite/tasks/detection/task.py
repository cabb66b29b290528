"""3D detection: boxes of ten classes, scored by the official nuScenes devkit. What a head gives is its form's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.data.frame import Reader
from bevlite.data.truth import BoxTruth
from bevlite.errors import DataError
from bevlite.grid import BEVGrid
from bevlite.kernels.step import Floats, Step
from bevlite.registry import DETECTION_HEADS
from bevlite.runtime.decoding import Boxes
from bevlite.tasks.contract import TASKS, Arrays, DrawnBoxes, Picture, RawMap, Scored, Task
from bevlite.tasks.detection.form import DetectionHead

if TYPE_CHECKING:
    from torch import Tensor

    from bevlite.data.index import Index

SUMMARY = ("mAP", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "NDS")


@TASKS.register
class Detection(Task):
    """Boxes of ten classes with size, heading and velocity. Its head's configuration says the `form`."""

    name = "detection"
    heads = DETECTION_HEADS
    weights = {"heatmap": 1.0, "box": 0.25, "velocity": 0.2}
    """Of every form; a head of a form with more losses names them in `auxiliary` of its configuration. Velocity counts
    `velocity` within `box` (CenterPoint's code weights)."""
    scores = {"nds": "NDS", "map": "mAP"}

    def __init__(self, head: DetectionHead, bev: BEVGrid) -> None:
        super().__init__(head, bev)
        self.form = head.form(bev)
        self.steps = (self.form.step,)

    @property
    def maps(self) -> tuple[RawMap, ...]:
        """Those of the form."""
        return self.form.maps

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
        """Those of the form."""
        return self.form.losses(outputs, batch, weights)

    def deployed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As the form says."""
        return self.form.deployed(outputs)

    def board_step(self, floats: Floats = "float32") -> Step | None:
        """As the form says."""
        return self.form.board_step(floats)

    def result(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int) -> Arrays:
        """Decoded boxes (K, 9), scores (K,) and classes (K,), best first."""
        found = self.form.decode(outputs, i)
        return {"boxes": found.boxes, "scores": found.scores, "classes": found.classes}

    def on_board(self) -> dict[str, Any]:
        """As the form says, with the classes by name."""
        maps = [raw.name for raw in self.maps]
        return {**self.form.on_board(), "maps": maps, "classes": list(DETECTION_CLASSES)}

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

    def by_scene(self, results: Mapping[str, Arrays], scored: Scored) -> Callable[[np.ndarray], Mapping[str, float]]:
        """NDS and mAP."""
        from bevlite.metrics.detection import to_submission  # loads the devkit
        from bevlite.metrics.detection_scenes import truth_of

        entries = {}
        for row, token in zip(scored.rows, scored.tokens(), strict=True):
            found = Boxes(results[token]["boxes"], results[token]["scores"], results[token]["classes"])
            entries[token] = to_submission(token, found, scored.index.ego_to_global[row])
        return truth_of(scored.data, scored.split, tuple(scored.tokens())).bootstrap(entries).figures

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
        found = self.form.decode(outputs, 0)
        keep = found.scores >= min_score
        return Picture(truth, DrawnBoxes(found.boxes[keep], found.classes[keep], found.scores[keep]), DETECTION_CLASSES)


def _cell(value: float | None) -> str:
    return f"{'nan':>8}" if value is None else f"{value:8.3f}"
