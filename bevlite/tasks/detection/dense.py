"""Dense maps: centre heat maps, and box values at every cell (Yin et al., CVPR 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.grid import BEVGrid
from bevlite.kernels.detection import decoding_step
from bevlite.kernels.step import Floats, Step
from bevlite.runtime.decoding import BOX_CHANNELS, BoxDecoding, Boxes, decode_boxes
from bevlite.tasks.contract import RawMap
from bevlite.tasks.detection.form import HEATMAP, DetectionForm

if TYPE_CHECKING:
    from torch import Tensor

BOXES = "boxes"
"""The second raw map: box values (10 a group, ny, nx), group after group."""


@dataclass(frozen=True)
class Groups:
    """How a head groups the classes: each group has box values of its own. The one place that knows the groups."""

    groups: tuple[tuple[str, ...], ...]

    @property
    def channels(self) -> tuple[tuple[int, ...], ...]:
        """Heat map channels of each group."""
        return tuple(tuple(DETECTION_CLASSES.index(name) for name in group) for group in self.groups)


GROUPS: dict[str, Groups] = {
    "six": Groups(
        (
            ("car",),
            ("truck", "construction_vehicle"),
            ("bus", "trailer"),
            ("barrier",),
            ("motorcycle", "bicycle"),
            ("pedestrian", "traffic_cone"),
        )
    ),
    "one": Groups((DETECTION_CLASSES,)),
}
"""`six`: the task groups of CenterPoint; `one`: box values that all ten classes share."""


class DenseForm(DetectionForm):
    """Heat map logits (10, ny, nx) and box values (10 a group, ny, nx)."""

    step = "decoding"

    def __init__(self, bev: BEVGrid, groups: Groups) -> None:
        super().__init__(bev)
        self.groups = groups

    @property
    def maps(self) -> tuple[RawMap, ...]:
        """Heat map and box values."""
        ny, nx = self.bev.ny, self.bev.nx
        return (
            RawMap(HEATMAP, (1, len(DETECTION_CLASSES), ny, nx), ("batch", "class", "y", "x")),
            RawMap(BOXES, (1, BOX_CHANNELS * len(self.groups.groups), ny, nx), ("batch", "value", "y", "x")),
        )

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Focal loss of the heat map, L1 of the box values."""
        from bevlite.losses.targets import box_targets
        from bevlite.losses.terms import box_loss, gaussian_focal_loss  # imports torch

        targets = box_targets(batch["boxes"], batch["labels"], self.bev)
        box = box_loss(outputs[BOXES], targets, self.groups.channels, weights["velocity"])
        return {
            "heatmap": weights["heatmap"] * gaussian_focal_loss(outputs[HEATMAP], targets.heatmap),
            "box": weights["box"] * box,
        }

    def on_board(self) -> dict[str, Any]:
        """Peaks, then circle NMS."""
        return {"way": "dense", "decoding": asdict(self.decoding)}

    def decode(self, outputs: Mapping[str, np.ndarray], i: int) -> Boxes:
        """Peaks, then circle NMS."""
        return decode_boxes(outputs[HEATMAP][i], outputs[BOXES][i], self.decoding)

    def board_step(self, floats: Floats = "float32") -> Step:
        """The same."""
        return decoding_step(self.decoding, self.bev.ny, self.bev.nx, HEATMAP, BOXES, floats)

    @property
    def decoding(self) -> BoxDecoding:
        """Where the maps lie, and how many boxes are kept."""
        bev = self.bev
        return BoxDecoding(bev.x_range_m[0], bev.y_range_m[0], bev.cell_m, self.groups.channels)
