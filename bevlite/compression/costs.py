"""What a network costs layer by layer, as it is predicted from its shapes: milliseconds or MACs by path of a layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from bevlite.compression.choice import Costs, Guide
from bevlite.devices.predicted import PredictedDevice
from bevlite.devices.report.latency import Kernel, LatencyReport
from bevlite.export.graph.emit import LayerPaths
from bevlite.export.graph.graphs import GraphStore
from bevlite.export.of_variant import request_of_variant
from bevlite.export.prediction import latency_of
from bevlite.export.request import Request
from bevlite.models.samples import outline
from bevlite.variant import Variant


class Predictions:
    """Predicted costs of variants that differ in widths; modules that did not change are not made again."""

    def __init__(self, board: PredictedDevice, precision: str = "") -> None:
        self.board, self.precision = board, precision
        self._store = GraphStore()

    def of(self, variant: Variant, guide: Guide = "latency") -> Costs:
        """Of a variant (raises BevliteError when it cannot be predicted): milliseconds of each layer without the start
        of its kernels; with `macs` as a guide its multiply-adds."""
        report = self.report(variant)
        if guide == "macs":
            return Costs(report.total_ms, _by_layer(variant, report, lambda kernel: kernel.flops / 2))
        # What starting a kernel takes is not saved by making it smaller.
        saved = _by_layer(variant, report, lambda kernel: max(0.0, kernel.latency_ms - kernel.launch_ms))
        return Costs(report.total_ms, saved)

    def milliseconds(self, variant: Variant) -> dict[str, float]:
        """All of the engines' predicted time by path of a layer; kernels of none stand under their module."""
        return _by_layer(variant, self.report(variant), lambda kernel: kernel.latency_ms)

    def report(self, variant: Variant) -> LatencyReport:
        """All that is predicted of a variant (raises BevliteError when it cannot be)."""
        return latency_of(self.request(variant), self.board)

    def request(self, variant: Variant) -> Request:
        """Its graphs; modules that were made before are kept (raises BevliteError when it cannot be exported)."""
        return request_of_variant(variant, self.board.tensorrt, self.precision, self._store)


def _by_layer(variant: Variant, report: LatencyReport, cost: Callable[[Kernel], float]) -> dict[str, float]:
    paths = {module.name: LayerPaths(module) for module in outline(variant).modules}
    found: dict[str, float] = defaultdict(float)
    for row in report.modules:
        for kernel in row.kernels:
            found[paths[row.name].of(kernel.name)] += cost(kernel)
    return dict(found)
