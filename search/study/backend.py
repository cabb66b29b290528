"""What the search asks of BEVLite: latency, size, training and accuracy of a variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from search.config import ResolvedSearch
from search.latency.check import Verdict
from search.space.space import Params

if TYPE_CHECKING:
    from bevlite.devices.report.latency import LatencyReport
    from bevlite.training.recipe import Recipe
    from bevlite.variant import Variant


@dataclass(frozen=True)
class Parent:
    """A trained network with more channels: its run, and by part the share of them that its child goes without."""

    run: Path
    ratios: Mapping[str, float]


@dataclass(frozen=True)
class Scanned:
    """A network of the space with its predicted latency in ms, the ends of its interval, its hash without the precision
    plan, and the MB that its engines are predicted to take (None where that is not known)."""

    params: Params
    latency_ms: float
    lower_ms: float
    upper_ms: float
    network: str = ""
    memory_mb: float | None = None


class Backend(Protocol):
    """The work behind a trial. Tests have a fast one."""

    def latency(self, variant: Variant) -> LatencyReport:
        """Latency on the search's device; nothing is trained for it. NoLatency says that no trial can have one now."""

    def scan(
        self, search: ResolvedSearch, most: int, among: Sequence[Params] | None = None
    ) -> tuple[Sequence[Scanned], int]:
        """Networks of the space, or of those that are given, with what is predicted of them, and how many combinations
        are none."""

    def check(self, variant: Variant) -> Verdict | None:
        """What NVIDIA's compiler says of a network that nobody has trained; None where it is not asked."""

    def whole(self, variant: Variant) -> LatencyReport | None:
        """The network measured as one engine; None where nothing measures."""

    def parameters(self, variant: Variant) -> int:
        """Number of parameters."""

    def train(
        self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int, parent: Parent | None = None
    ) -> None:
        """Train until so many epochs are done, going on from what the run folder holds; a new one starts from nothing,
        or from what is left of its parent."""

    def quantize(self, variant: Variant, trained: Path, run: Path) -> None:
        """Quantize a network as its plan says: from the run in which it was trained into another one, or the same."""

    def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
        """Accuracy on the validation split: split, samples, NDS, mAP, occ_miou, ...

        With `draws` also `draws`: `samples` (an identity), and by figure its values for other scenes, where there are.
        """

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
