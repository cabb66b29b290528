"""What a network costs layer by layer, as it is predicted from its shapes: milliseconds or MACs by path of a layer."""

from __future__ import annotations

from collections import defaultdict

from bevlite.compression.choice import Costs, Guide
from bevlite.devices.predicted import PredictedDevice
from bevlite.export.graph.emit import LayerPaths
from bevlite.export.graph.graphs import GraphStore
from bevlite.export.of_variant import request_of_variant
from bevlite.export.prediction import latency_of
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
        request = request_of_variant(variant, self.board.tensorrt, self.precision, self._store)
        report = latency_of(request, self.board)
        paths = {module.name: LayerPaths(module) for module in outline(variant).modules}
        by_layer: dict[str, float] = defaultdict(float)
        for row in report.modules:
            for kernel in row.kernels:
                # What starting a kernel takes is not saved by making it smaller.
                cost = kernel.flops / 2 if guide == "macs" else max(0.0, kernel.latency_ms - kernel.launch_ms)
                by_layer[paths[row.name].of(kernel.name)] += cost
        return Costs(report.total_ms, dict(by_layer))
