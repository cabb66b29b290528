"""BEV map segmentation: what of the road lies where, six classes that may overlap (BEVFusion, Liu et al., ICRA 2023).

Truth is drawn from vector maps in the format of the nuScenes map expansion; scored by the mean IoU of BEVFusion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.data.classes import MAP_CLASSES
from bevlite.data.frame import Reader
from bevlite.data.truth import MAP_TRUTH, MapTruth
from bevlite.data.vector_map import MAP_GRID
from bevlite.kernels.classes import map_step
from bevlite.kernels.step import Floats, Step
from bevlite.metrics.map_segmentation import map_counts, map_miou
from bevlite.registry import MAP_HEADS
from bevlite.tasks.contract import TASKS, Arrays, Picture, Raster, RawMap, Scored, Task

if TYPE_CHECKING:
    from torch import Tensor

MAP = "map_logits"
"""The raw map: logits (6, 200 y, 200 x) of the classes, over `MAP_GRID`."""
COLOURS = {
    "drivable_area": (200, 200, 205),
    "ped_crossing": (230, 25, 75),
    "walkway": (110, 180, 90),
    "stop_line": (245, 130, 48),
    "carpark_area": (90, 130, 220),
    "divider": (120, 20, 150),
}
BACKGROUND = (255, 255, 255)
DRAWN_FROM = 0.5
"""Probability from which on a picture shows a class."""


@TASKS.register
class MapSegmentation(Task):
    """What of the road lies where: drivable area, crossings, walkways, stop lines, car parks, dividers."""

    name = "map_segmentation"
    heads = MAP_HEADS
    weights = {"map_segmentation": 1.0}
    scores = {"map_miou": "map_miou"}

    @property
    def maps(self) -> tuple[RawMap, ...]:
        """Logits of the classes."""
        return (RawMap(MAP, (1, len(MAP_CLASSES), MAP_GRID.ny, MAP_GRID.nx), ("batch", "class", "y", "x")),)

    @property
    def truth(self) -> Reader:
        """The classes around the car."""
        return MapTruth()

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Focal loss, averaged over the cells and summed over the classes."""
        from bevlite.losses.terms import focal_loss  # imports torch

        loss = focal_loss(outputs[MAP], batch[MAP_TRUTH]).mean(dim=(0, 2, 3)).sum()
        return {"map_segmentation": weights["map_segmentation"] * loss}

    def board_step(self, floats: Floats = "float32") -> Step:
        """What is more likely than not."""
        return map_step([DRAWN_FROM] * len(MAP_CLASSES), MAP_GRID.ny, MAP_GRID.nx, MAP, floats)

    def result(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], i: int) -> Arrays:
        """Cells hit, found falsely and missed (6, thresholds, 3) of one sample."""
        return {"counts": map_counts(_probability(outputs[MAP][i]), batch[MAP_TRUTH][i].numpy())}

    def on_board(self) -> dict[str, Any]:
        """The probability of each class."""
        return {"way": "probabilities", "maps": [MAP], "classes": list(MAP_CLASSES)}

    def score(self, results: Mapping[str, Arrays], scored: Scored) -> dict[str, Any]:
        """mIoU, IoU and threshold by class; leaves `map_counts.npz`, sample by sample."""
        tokens = scored.tokens()
        counts = np.array([results[token]["counts"] for token in tokens])
        np.savez_compressed(scored.folder / "map_counts.npz", tokens=np.array(tokens), counts=counts)
        return map_miou(counts.sum(axis=0))

    def by_scene(self, results: Mapping[str, Arrays], scored: Scored) -> Callable[[np.ndarray], Mapping[str, float]]:
        """mIoU."""
        from bevlite.metrics.bootstrap import map_figures  # loads the devkit

        counts = np.array([results[token]["counts"] for token in scored.tokens()])
        return map_figures(counts, scored.index.scenes[scored.rows])

    @classmethod
    def table(cls, figures: Mapping[str, Any]) -> str:
        """mIoU, then the classes that are there, each at its best threshold."""
        lines = [f"Map mIoU: {figures['map_miou']:.4f} (6 classes, +-50 m, best threshold of each)"]
        lines += [f"{name:22}{v:8.3f}" for name, v in figures["map_per_class"].items() if v is not None]
        return "\n".join(lines)

    def picture(self, outputs: Mapping[str, np.ndarray], batch: Mapping[str, Any], min_score: float) -> Picture:
        """From above: truth, and what is more likely than not."""
        pairs = (
            (batch[MAP_TRUTH][0].numpy() > 0, "map, truth"),
            (_probability(outputs[MAP][0]) >= DRAWN_FROM, "map, prediction (probability from 0.5 on)"),
        )
        reach = MAP_GRID.x_range_m[1]
        return Picture(rasters=[Raster(_from_above(there), title, reach, COLOURS) for there, title in pairs])


def _probability(logits: np.ndarray) -> np.ndarray:
    probability: np.ndarray = 1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -60, 60)))
    return probability


def _from_above(there: np.ndarray) -> np.ndarray:
    """Colours (200, 200, 3), ahead up, of classes (6, y, x): later classes over earlier ones, dividers on top."""
    image = np.full((*there.shape[1:], 3), BACKGROUND, dtype=np.uint8)
    for name, mask in zip(MAP_CLASSES, there, strict=True):
        image[mask] = COLOURS[name]
    # Rows are y (left) and columns x (ahead): turned so that x points up and y to the left.
    return image.transpose(1, 0, 2)[::-1, ::-1]
