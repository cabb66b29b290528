"""The work behind a trial on this machine. What needs torch is imported when it is first used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.data.config import DataConfig
from search.config import ResolvedSearch
from search.latency.boards import BoardLatency
from search.latency.check import NetworkCheck, Verdict, why_unchecked
from search.latency.predicted import LatencySource
from search.space.space import Params
from search.study.backend import Backend, Latencies, Parent, Scanned

if TYPE_CHECKING:  # imports torch
    from torch import Tensor

    from bevlite.devices.report.latency import LatencyReport
    from bevlite.training.recipe import Recipe
    from bevlite.variant import Variant
    from search.scan.result import ScanResult


MODULES = 600
"""Distinct modules that are predicted for a pool: minutes on a few cores."""


class LocalBackend:
    """Latency, training, evaluation and export on this machine.

    Args:
        data: what is trained on.
        latency: where latencies come from.
        devices: GPUs (or CPU processes) a network.
        progress: print a line an epoch.
        check: asks NVIDIA's compiler about a network; None asks nobody.
        kept: where a scan keeps what it predicts; None for memory.
    """

    def __init__(
        self,
        data: DataConfig,
        latency: Latencies,
        devices: int = 1,
        progress: bool = False,
        check: NetworkCheck | None = None,
        kept: Path | None = None,
    ) -> None:
        self._data = data
        self._latency = latency
        self._check = check
        self._kept = kept
        self._devices = devices
        self._progress = progress

    def latency(self, variant: Variant) -> LatencyReport:
        """What was known before, else measured or predicted."""
        return self._latency(variant)

    def scan(
        self, search: ResolvedSearch, most: int, among: Sequence[Params] | None = None
    ) -> tuple[Sequence[Scanned], int]:
        """By shapes alone, module by module, with all cores; graphs and latencies stay in the study's folder."""
        from search.scan.modules import available_cores
        from search.scan.scan import scan

        found = scan(search, most, search.config.seed, available_cores(), self._kept, among, MODULES)
        return as_scanned(found)

    def check(self, variant: Variant) -> Verdict | None:
        """By the graphs of its modules, weights as type and shape alone."""
        return self._check(variant, self._latency.tensorrt) if self._check is not None else None

    def whole(self, variant: Variant) -> LatencyReport | None:
        """Measured where the search measures."""
        return self._latency.whole(variant)

    def parameters(self, variant: Variant) -> int:
        """Counted without building weights."""
        from bevlite.analysis.cost import module_costs

        return sum(module.parameters for module in module_costs(variant))

    def train(
        self, variant: Variant, recipe: Recipe, run: Path, until_epoch: int, parent: Parent | None = None
    ) -> None:
        """Train, with the full schedule of the recipe whatever epoch it stops at."""
        from bevlite.run_folder import Run
        from bevlite.training.loop import STATE, train

        # A training that was stopped goes on from its own state, whatever it started from.
        begun = (Run(run).checkpoints / STATE).is_file()
        train(
            variant,
            self._data,
            recipe,
            run,
            weights=_inherited(variant, parent) if parent is not None and not begun else None,
            resume=True,
            devices=self._devices,
            stop_after_epoch=until_epoch,
            progress=self._progress,
        )

    def quantize(self, variant: Variant, trained: Path, run: Path) -> None:
        """By percentiles of training samples, which need no more than what training needs."""
        from bevlite.compression.quantize import Calibration, quantize_run

        if run != trained:
            _copy_weights(variant, trained, run)
        quantize_run(run, Calibration(precision=dict(variant.compression.precision)))

    def evaluate(self, run: Path, draws: bool = False) -> dict[str, Any]:
        """On the validation split of the search's data."""
        from bevlite.evaluation.draws import DRAWS, read_draws
        from bevlite.evaluation.run import evaluate_run, evaluation_folder
        from bevlite.run_folder import FLOAT

        found = evaluate_run(run, draws=DRAWS if draws else 0)
        if draws:
            folder = evaluation_folder(run, found["split"], "torch", stage=found.get("stage", FLOAT))
            if (drawn := read_draws(folder)) is not None:
                found["draws"] = {"samples": drawn.samples, **drawn.figures}
        return found

    def export(self, run: Path) -> None:
        """For the TensorRT that the search is for, predicted or of its boards."""
        from bevlite.export.run import export_run

        export_run(run, self._latency.tensorrt, check="rtx" if self._check is not None else "none")


def as_scanned(found: ScanResult) -> tuple[list[Scanned], int]:
    """What a study keeps of a scan, and how many combinations are no network, or none of their own."""
    rows = [
        Scanned(row.params, row.latency_ms, row.lower_ms, row.upper_ms, row.network, row.memory_mb)
        for row in found.rows
    ]
    return rows, len(found.invalid) + len(found.failed) + found.same_network


def _inherited(variant: Variant, parent: Parent) -> dict[str, Tensor]:
    from bevlite.compression.narrow import narrowed_weights
    from bevlite.run_folder import FLOAT, Run

    run = Run(parent.run)
    whole = run.variant(FLOAT)
    return narrowed_weights(whole, run.weights(whole, FLOAT), parent.ratios, variant)


def _copy_weights(variant: Variant, trained: Path, run: Path) -> None:
    """The weights that another trial of the same network was trained to, in a run of their own."""
    from bevlite.run_folder import FLOAT, Run
    from bevlite.training.recipe import load_recipe

    source, target = Run(trained), Run(run)
    target.create(variant, source.data(), load_recipe(source.path / "recipe.yaml"), 0)
    meta = {"trained_in": trained.name, **source.weights_meta(FLOAT)}
    target.save_stage(FLOAT, source.weights_file(FLOAT).read_bytes(), variant, meta)


def make_backend(search: ResolvedSearch, folder: Path, devices: int = 1) -> Backend:
    """What trains and predicts (or measures) for real.

    Args:
        search: the search.
        folder: the study folder; latencies are kept in it.
        devices: GPUs (or CPU processes) per network.
    """
    choice, kept = search.config.device, folder / "latency"
    latency: Latencies = (
        BoardLatency(search.device, choice, search.data, kept)
        if choice.measures
        else LatencySource(search.device, choice, kept)
    )
    asks = why_unchecked(choice.check) is None
    check = NetworkCheck(folder / "nvidia", kept / "graphs") if asks else None
    return LocalBackend(search.data, latency, devices, check=check, kept=kept)
