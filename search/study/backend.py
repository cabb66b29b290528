"""What the search asks of BEVLite: latency, size, training and accuracy of a variant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search.latency.check import Verdict

if TYPE_CHECKING:
    from bevlite.devices.report.latency import LatencyReport
    from bevlite.training.recipe import Recipe
    from bevlite.variant import Variant


class Backend(Protocol):
    """The work behind a trial. Tests have a fast one."""

    def latency(self, variant: Variant) -> LatencyReport:
        """Latency on the search's device; nothing is trained for it. NoLatency says that no trial can have one now."""

    def check(self, variant: Variant) -> Verdict | None:
        """What NVIDIA's compiler says of a network that nobody has trained; None where it is not asked."""

    def whole(self, variant: Variant) -> LatencyReport | None:
        """The network measured as one engine; None where nothing measures."""

    def parameters(self, variant: Variant) -> int:
        """Number of parameters."""

    def train(self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int) -> None:
        """Train until so many epochs are done, going on from what the run folder holds."""

    def evaluate(self, run: Path) -> dict[str, Any]:
        """Accuracy on the validation split: split, samples, NDS, mAP, occ_miou, ..."""

    def export(self, run: Path) -> None:
        """Write the ONNX modules of a trained run."""


class Latencies(Protocol):
    """What latencies come from: predictions or boards."""

    @property
    def tensorrt(self) -> str:
        """The version of TensorRT that they are for."""

    def __call__(self, variant: Variant) -> LatencyReport:
        """The report of a variant."""

    def whole(self, variant: Variant) -> LatencyReport | None:
        """The network measured as one engine; None where nothing measures."""
