"""Occupancy: the class of every voxel of Occ3D-nuScenes (Tian et al., NeurIPS 2023), scored by its mIoU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.data.classes import OCCUPANCY_CLASSES
from bevlite.data.frame import Reader
from bevlite.data.occupancy import SHAPE
from bevlite.data.truth import OccupancyTruth
from bevlite.kernels.classes import voxel_step
from bevlite.kernels.step import Floats, Step
from bevlite.metrics.occupancy import FREE, OccupancyConfusion, miou
from bevlite.registry import OCCUPANCY_HEADS
from bevlite.tasks.contract import TASKS, Arrays, Picture, Raster, RawMap, Scored, Task

if TYPE_CHECKING:
    from torch import Tensor

OCCUPANCY = "occupancy"
"""The raw map: logits (18, 16 z, 200 y, 200 x) as trained, the class of each voxel (16, 200, 200) as deployed."""
REACH_M = 40.0
COLOURS = {
    "others": (0, 0, 0),
    "barrier": (135, 123, 133),
    "bicycle": (25, 56, 177),
    "bus": (222, 147, 223),
    "car": (65, 136, 236),
    "construction_vehicle": (169, 210, 0),
    "motorcycle": (226, 33, 70),
    "pedestrian": (2, 194, 134),
    "traffic_cone": (136, 62, 255),
    "trailer": (128, 30, 63),
    "truck": (207, 96, 14),
    "driveable_surface": (225, 225, 225),
    "other_flat": (150, 130, 170),
    "sidewalk": (235, 190, 235),
    "terrain": (185, 220, 150),
    "manmade": (240, 218, 180),
    "vegetation": (20, 110, 40),
    "free": (255, 255, 255),
}
"""Objects in the colours of their boxes, surfaces pale."""


@TASKS.register
class Occupancy(Task):
    """The class of every voxel that a camera sees."""

    name = "occupancy"
    heads = OCCUPANCY_HEADS
    weights = {"occupancy": 1.0}
    scores = {"occ_miou": "occ_miou"}

    @property
    def maps(self) -> tuple[RawMap, ...]:
        """One map of classes."""
        return (RawMap(OCCUPANCY, (1, *SHAPE[::-1]), ("batch", "z", "y", "x"), "classes"),)

    @property
    def truth(self) -> Reader:
        """Labels and the camera mask."""
        return OccupancyTruth()

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Cross entropy over the voxels that a camera sees."""
        from bevlite.losses.terms import masked_cross_entropy  # imports torch

        target = batch["occupancy"].permute(0, 3, 2, 1)
        mask = batch["occupancy_mask"].permute(0, 3, 2, 1)
        return {"occupancy": weights["occupancy"] * masked_cross_entropy(outputs[OCCUPANCY], target, mask)}

    def deployed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The best class of each voxel, taken in the graph."""
        return {OCCUPANCY: outputs[OCCUPANCY].argmax(dim=1).int()}

    def board_step(self, floats: Floats = "float32") -> Step:
        """Classes as bytes, in the order of the labels."""
        nz, ny, nx = SHAPE[::-1]
        return voxel_step(nz, ny, nx, OCCUPANCY)

    def result(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int) -> Arrays:
        """The confusion matrix (18, 18) of one sample."""
        one = OccupancyConfusion()
        predicted = outputs[OCCUPANCY][i].transpose(2, 1, 0)
        one.add(predicted, batch["occupancy"][i].numpy(), batch["occupancy_mask"][i].numpy())
        return {"confusion": one.matrix}

    def on_board(self) -> dict[str, Any]:
        """The classes as they are."""
        return {"way": "classes", "maps": [OCCUPANCY], "classes": list(OCCUPANCY_CLASSES)}

    def score(self, results: Mapping[str, Arrays], scored: Scored) -> dict[str, Any]:
        """mIoU and IoU by class; leaves `occupancy_confusion.npz`, sample by sample."""
        tokens = scored.tokens()
        matrices = np.array([results[token]["confusion"] for token in tokens])
        np.savez_compressed(scored.folder / "occupancy_confusion.npz", tokens=np.array(tokens), matrices=matrices)
        return miou(matrices.sum(axis=0))

    def by_scene(self, results: Mapping[str, Arrays], scored: Scored) -> Callable[[np.ndarray], Mapping[str, float]]:
        """mIoU."""
        from bevlite.metrics.bootstrap import occupancy_figures  # loads the devkit

        matrices = np.array([results[token]["confusion"] for token in scored.tokens()])
        return occupancy_figures(matrices, scored.index.scenes[scored.rows])

    @classmethod
    def table(cls, figures: Mapping[str, Any]) -> str:
        """mIoU, then the classes that are there."""
        lines = [f"Occupancy mIoU: {figures['occ_miou']:.4f} (17 classes, voxels seen by a camera)"]
        known = {k: v for k, v in figures["occ_per_class"].items() if v is not None and k != "free"}
        return "\n".join([*lines, *(f"{name:22}{value:8.3f}" for name, value in known.items())])

    def picture(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], min_score: float) -> Picture:
        """From above, where a camera sees."""
        seen = batch["occupancy_mask"][0].numpy()
        predicted = outputs[OCCUPANCY][0].transpose(2, 1, 0)
        pairs = (
            (batch["occupancy"][0].numpy(), "occupancy, truth (seen by a camera)"),
            (predicted, "occupancy, prediction (same voxels)"),
        )
        shown = {name: COLOURS[name] for name in OCCUPANCY_CLASSES[:FREE]}
        images = [(_from_above(np.where(seen, classes, FREE)), title) for classes, title in pairs]
        return Picture(rasters=[Raster(image, title, REACH_M, shown) for image, title in images])


def _from_above(classes: np.ndarray) -> np.ndarray:
    """Colours (200, 200, 3) of the highest occupied voxel of each column; classes (200, 200, 16) indexed [x, y, z]."""
    occupied = classes < FREE
    top = classes.shape[2] - 1 - np.argmax(occupied[:, :, ::-1], axis=2)
    highest = np.take_along_axis(classes, top[..., None], axis=2)[..., 0]
    highest = np.where(occupied.any(axis=2), highest, FREE)
    return np.array([COLOURS[name] for name in OCCUPANCY_CLASSES], dtype=np.uint8)[highest][::-1, ::-1]
