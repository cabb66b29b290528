"""What the search asks of BEVLite: latency, size, training and accuracy of a variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from bevlite.data.config import DataConfig
from bevlite.devices.report.latency import LatencyReport
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant


class Backend(Protocol):
    """The work behind a trial. Tests have a fast one."""

    def latency(self, variant: Variant) -> LatencyReport:
        """Latency on the search's device; nothing is trained for it. NoLatency says that no trial can have one now."""

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


class LocalBackend:
    """All of it on this machine. What needs torch is imported when it is first used."""

    def __init__(self, data: DataConfig, latency: Latencies, devices: int = 1, progress: bool = False) -> None:
        self._data = data
        self._latency = latency
        self._devices = devices
        self._progress = progress

    def latency(self, variant: Variant) -> LatencyReport:
        """What was known before, else measured or predicted."""
        return self._latency(variant)

    def whole(self, variant: Variant) -> LatencyReport | None:
        """Measured where the search measures."""
        return self._latency.whole(variant)

    def parameters(self, variant: Variant) -> int:
        """Counted without building weights."""
        from bevlite.analysis.cost import module_costs

        return sum(module.parameters for module in module_costs(variant))

    def train(self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int) -> None:
        """Train, with the full schedule of the recipe whatever epoch it stops at."""
        from bevlite.training.loop import train

        train(
            variant,
            self._data,
            recipe,
            run,
            resume=True,
            devices=self._devices,
            stop_after_epoch=until_epoch,
            progress=self._progress,
        )

    def evaluate(self, run: Path) -> dict[str, Any]:
        """On the validation split of the search's data."""
        from bevlite.evaluation.run import evaluate_run

        return evaluate_run(run)

    def export(self, run: Path) -> None:
        """For the TensorRT that the search is for, predicted or of its boards."""
        from bevlite.export.run import export_run

        export_run(run, self._latency.tensorrt)
