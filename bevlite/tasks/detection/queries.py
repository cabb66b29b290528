"""Queries: a list of boxes of fixed length, each with its class, place and score (Bai et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from bevlite.data.classes import DETECTION_CLASSES
from bevlite.grid import BEVGrid
from bevlite.kernels.detection import query_step
from bevlite.kernels.step import Floats, Step
from bevlite.runtime.decoding import BOX_CHANNELS, BoxDecoding, Boxes, QueryRows, decode_queries
from bevlite.tasks.contract import RawMap
from bevlite.tasks.detection.form import HEATMAP, DetectionForm

if TYPE_CHECKING:
    from torch import Tensor

QUERIES = "query_boxes"
"""The raw map: a column a query, with the rows of `QueryRows`. As trained (B, layers, 24, K): class, x and y of its
cell, heat, then logits of the ten classes in place of the score, and the box values."""
LEAST_SCORE = BoxDecoding.score_threshold**2
"""The score is a product of two probabilities, of which each counts from that of the dense form on. A network that has
just begun to learn then has boxes to be scored by."""
PLACE_ROWS = QueryRows.HEAT + 1
"""Class, cell and heat: the same in every layer."""


class QueryForm(DetectionForm):
    """`proposals` columns of 15 numbers, best first; there is no NMS behind them."""

    step = "query_decoding"

    def __init__(self, bev: BEVGrid, proposals: int) -> None:
        super().__init__(bev)
        self.proposals = proposals

    @property
    def maps(self) -> tuple[RawMap, ...]:
        """One small tensor."""
        shape = (1, QueryRows.BOX + BOX_CHANNELS, self.proposals)
        return (RawMap(QUERIES, shape, ("batch", "value", "query"), "set"),)

    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Focal loss of the heat map; focal loss of the classes and L1 of the boxes, over matched queries."""
        from bevlite.losses.queries import Queries, query_losses
        from bevlite.losses.targets import box_targets
        from bevlite.losses.terms import gaussian_focal_loss  # imports torch

        targets = box_targets(batch["boxes"], batch["labels"], self.bev).compact()
        places, logits, values = (
            outputs[QUERIES].float().split((PLACE_ROWS, len(DETECTION_CLASSES), BOX_CHANNELS), dim=2)
        )
        queries = Queries(places[:, 0, QueryRows.X : QueryRows.Y + 1], logits, values)
        query, box = query_losses(queries, targets, self.bev, weights["velocity"])
        return {
            "heatmap": weights["heatmap"] * gaussian_focal_loss(outputs[HEATMAP], targets.heatmap),
            "query": weights["query"] * query,
            "box": weights["box"] * box,
        }

    def deployed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The last layer, its logits multiplied out: the score of the query's own class times its heat."""
        import torch

        last = outputs[QUERIES][:, -1]
        place, logits, values = last.split((PLACE_ROWS, len(DETECTION_CLASSES), BOX_CHANNELS), dim=1)
        numbers = torch.arange(len(DETECTION_CLASSES), dtype=last.dtype, device=last.device).view(1, -1, 1)
        own = (place[:, :1] == numbers).to(last.dtype)
        score = (logits.sigmoid() * own).sum(dim=1, keepdim=True) * place[:, QueryRows.HEAT :]
        return {QUERIES: torch.cat([place, score, values], dim=1)}

    def on_board(self) -> dict[str, Any]:
        """Columns with a score."""
        return {"way": "queries", "decoding": asdict(self.decoding)}

    def decode(self, outputs: Mapping[str, np.ndarray], i: int) -> Boxes:
        """Columns with a score."""
        return decode_queries(outputs[QUERIES][i], self.decoding)

    def board_step(self, floats: Floats = "float32") -> Step:
        """The same."""
        return query_step(self.decoding, self.proposals, QUERIES, floats)

    @property
    def decoding(self) -> BoxDecoding:
        """Where the cells lie, and how many boxes are kept."""
        bev = self.bev
        return BoxDecoding(bev.x_range_m[0], bev.y_range_m[0], bev.cell_m, score_threshold=LEAST_SCORE)
