"""Latency of a variant for the search: computed once, then read from the study folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.config import stable_hash
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.latency.coefficients import PREDICTOR_VERSION
from bevlite.latency.device import DeviceConfig
from bevlite.tensorrt import Form, Precision, form_for, module_precision
from search.latency.choice import DeviceChoice

if TYPE_CHECKING:  # imports torch
    from bevlite.export.graph.graphs import GraphStore, ModuleGraph
    from bevlite.variant import Variant


class LatencySource:
    """Predicts variants and their modules for one device, and keeps each report under what it depends on.

    The graphs come from shapes alone (`bevlite.export.graph.graphs`): nothing is computed, and modules that variants
    share are made once. The key of a report holds the variant (or the module), the board's description, the conditions,
    the predictor's version and its coefficients, so a report is found again exactly when it would come out the same.
    Without `steps` a total is of the engines alone, and the steps around them are named as missing.
    """

    def __init__(self, device: DeviceConfig, choice: DeviceChoice, folder: Path | None, *, steps: bool = True) -> None:
        self._device = device
        self._steps = steps
        self._choice = choice
        self._folder = folder
        self._store: GraphStore | None = None
        self._modules: dict[str, LatencyReport] = {}
        self._board = stable_hash(device)
        self._coefficients = choice.coefficients()
        self._coefficients_hash = stable_hash(self._coefficients)

    def __call__(self, variant: Variant) -> LatencyReport:
        """The report (raises BevliteError when the variant cannot be exported or predicted)."""
        key = self.key(variant)
        return self._kept(self._folder, key) or self._keep(self._folder, key, self._predict(variant))

    def key(self, variant: Variant) -> str:
        """Name of the cached report."""
        from bevlite.export.graph.graphs import made_by  # imports torch

        own = {"variant": variant.hash, "code": made_by(variant)}
        return stable_hash(own | self._conditions(self.precision(variant)), length=16)

    def planned(self, variant: Variant) -> Variant:
        """A variant in the precision that the search asks for, or with its own plan."""
        return variant.with_precision(self._choice.precision or "")

    def precision(self, variant: Variant) -> Precision:
        """What the engines of a variant are built in: one word, or one for each module."""
        return self._choice.precision or variant.precision

    @property
    def tensorrt(self) -> str:
        """The version that the search is for."""
        return self._choice.tensorrt

    def form(self, precision: Precision) -> Form:
        """The form of the graphs that the TensorRT version takes."""
        return form_for(self._choice.tensorrt, precision)

    def module_key(self, module: ModuleGraph, precision: Precision) -> str:
        """Name of the cached report of one module of a network in this precision."""
        own = {"module": module.key, "own precision": module_precision(precision, module.name)}
        return stable_hash(own | self._conditions(precision), length=16)

    def module(self, module: ModuleGraph, precision: Precision) -> LatencyReport:
        """The report of one module alone (raises BevliteError when it cannot be exported or predicted)."""
        key = self.module_key(module, precision)
        report = self.known_module(key)
        if report is None:
            from bevlite.export.graph.emit import require_buildable  # imports torch

            if not self._choice.precision:  # as for a whole variant
                require_buildable(module.variant, self.form(precision))
            model = self._graphs()(module, self.form(precision))
            own = module_precision(precision, module.name)
            report = self._predictor().measure({module.name: model}, (), own)
            self._modules[key] = self._keep(self._module_folder(), key, report)
        return report

    def known_module(self, key: str) -> LatencyReport | None:
        """The report of a module when it is in memory or in the folder."""
        if key not in self._modules and (found := self._kept(self._module_folder(), key)) is not None:
            self._modules[key] = found
        return self._modules.get(key)

    def fresh(self) -> LatencySource:
        """The same for another process, with nothing in memory yet."""
        return LatencySource(self._device, self._choice, self._folder, steps=self._steps)

    def _conditions(self, precision: Precision) -> dict[str, Any]:
        return {
            "device": self._board,
            "tensorrt": self._choice.tensorrt,
            "power_mode": self._device.mode(self._choice.power_mode)[0],
            "precision": precision if isinstance(precision, str) else dict(precision),
            "form": "-".join(map(str, self.form(precision))),
            "predictor": PREDICTOR_VERSION,
            "coefficients": self._coefficients_hash,
        }

    def _predict(self, variant: Variant) -> LatencyReport:
        from bevlite.export.of_variant import request_of_variant  # imports torch

        asked = request_of_variant(variant, self.tensorrt, self._choice.precision or "", self._graphs())
        report = self._predictor().measure(asked.modules, asked.steps if self._steps else (), asked.precision)
        missing = () if self._steps else tuple(step.name for step in asked.steps)
        return report.model_copy(update={"missing": missing})

    def whole(self, variant: Variant) -> None:
        """Nothing measures a network here."""

    def _predictor(self) -> PredictedDevice:
        return PredictedDevice(
            self._device,
            tensorrt=self._choice.tensorrt,
            power_mode=self._choice.power_mode,
            coefficients=self._coefficients,
        )

    def _graphs(self) -> GraphStore:
        if self._store is None:
            from bevlite.export.graph.graphs import GraphStore  # imports torch

            self._store = GraphStore(self._folder / "graphs" if self._folder is not None else None)
        return self._store

    def _module_folder(self) -> Path | None:
        return self._folder / "modules" if self._folder is not None else None

    @staticmethod
    def _kept(folder: Path | None, key: str) -> LatencyReport | None:
        file = folder / f"{key}.json" if folder is not None else None
        if file is None or not file.is_file():
            return None
        try:
            return LatencyReport.read(file)
        except BevliteError:
            file.unlink(missing_ok=True)  # of an older version: computed anew
            return None

    @staticmethod
    def _keep(folder: Path | None, key: str, report: LatencyReport) -> LatencyReport:
        if folder is not None:
            report.write(folder / f"{key}.json")
        return report
