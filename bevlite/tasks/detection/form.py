"""The form of a detection head: which raw maps it gives, how they are taught, and how they become boxes.

The task asks the form and names no map. A head says which form it has in `form` of its configuration::

    def form(self, bev: BEVGrid) -> DetectionForm:
        return DenseForm(bev, GROUPS["six"])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from bevlite.grid import BEVGrid
from bevlite.kernels.step import Floats, Step
from bevlite.runtime.decoding import Boxes
from bevlite.tasks.contract import RawMap

if TYPE_CHECKING:
    from torch import Tensor

HEATMAP = "heatmap"
"""Logits (B, 10, ny, nx) of centres, as every form is trained; a raw map of the dense form."""


class DetectionForm(ABC):
    """What a detection head gives on a grid."""

    step: ClassVar[str]
    """Its step after the engines (bevlite.latency.pipeline)."""

    def __init__(self, bev: BEVGrid) -> None:
        self.bev = bev

    @property
    @abstractmethod
    def maps(self) -> tuple[RawMap, ...]:
        """The raw maps as engines give them."""

    @abstractmethod
    def losses(
        self, outputs: Mapping[str, Tensor], batch: Mapping[str, Any], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Weighted losses by name, from the maps as trained, and `boxes` and `labels` of a batch."""

    def deployed(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The maps as engines give them, from those as trained."""
        return {raw.name: outputs[raw.name] for raw in self.maps}

    def board_step(self, floats: Floats = "float32") -> Step | None:
        """`decode` as kernels on a board, from maps that are `floats`; None where there are none."""
        return None

    @abstractmethod
    def on_board(self) -> dict[str, Any]:
        """How a board decodes them (bevlite.board.outputs)."""

    @abstractmethod
    def decode(self, outputs: Mapping[str, np.ndarray], i: int) -> Boxes:
        """Boxes of sample `i` of a batch, from deployed maps."""


class DetectionHead(Protocol):
    """What the task wants of a head's configuration."""

    def form(self, bev: BEVGrid) -> DetectionForm:
        """Its form on a grid."""
