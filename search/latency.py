"""Latency of a variant for the search: computed once, then read from the study folder."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bevlite.config import stable_hash
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report import LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.coefficients import PREDICTOR_VERSION
from bevlite.latency.device import DeviceConfig
from bevlite.latency.pipeline import PipelineStep, steps_for
from bevlite.latency.predictor import parse_version
from bevlite.variant import Variant
from search.config import DeviceChoice


class LatencySource:
    """Predicts variants for one device and keeps each report under what it depends on.

    The key holds the variant, the board's description, the conditions and the predictor's version, so a
    report is found again exactly when it would come out the same.
    """

    def __init__(self, device: DeviceConfig, choice: DeviceChoice, folder: Path) -> None:
        self._device = device
        self._choice = choice
        self._folder = folder

    def __call__(self, variant: Variant) -> LatencyReport:
        """The report (raises BevliteError when the variant cannot be exported or predicted)."""
        file = self._folder / f"{self.key(variant)}.json"
        if file.is_file():
            try:
                return LatencyReport.read(file)
            except BevliteError:
                file.unlink()  # of an older version: computed anew
        report = self._predict(variant)
        report.write(file)
        return report

    def key(self, variant: Variant) -> str:
        """Name of the cached report."""
        return stable_hash(
            {
                "variant": variant.hash,
                "device": stable_hash(self._device),
                "tensorrt": self._choice.tensorrt,
                "power_mode": self._device.mode(self._choice.power_mode)[0],
                "precision": self._precision(variant),
                "predictor": PREDICTOR_VERSION,
            },
            length=16,
        )

    def _precision(self, variant: Variant) -> str:
        return self._choice.precision or variant.compression.precision

    def _predict(self, variant: Variant) -> LatencyReport:
        from bevlite.export.modules import export_variant  # imports torch

        board = PredictedDevice(self._device, tensorrt=self._choice.tensorrt, power_mode=self._choice.power_mode)
        strong = parse_version(self._choice.tensorrt) >= (10, 3)
        with tempfile.TemporaryDirectory(prefix="bevlite-search-") as folder:
            files = export_variant(variant, Path(folder), emission="strong" if strong else "weak", seed=0)
            return board.measure(files, pipeline_of(variant), self._precision(variant))


def pipeline_of(variant: Variant) -> list[PipelineStep]:
    """The steps outside the engines that count in the budget."""
    return steps_for(
        cameras=variant.camera.images.cameras if variant.camera is not None else 0,
        sweeps=variant.lidar.sweeps if variant.lidar is not None else 0,
        detection=variant.heads.detection is not None,
    )
