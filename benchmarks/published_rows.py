"""Published latencies on Orin boards as measurements of the latency model, once the graphs are there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bevlite.latency.calibration.fitting import Measurement, predict_ms
from bevlite.latency.coefficients import SHIPPED, load_calibration
from bevlite.latency.device import DeviceConfig, find_device
from bevlite.latency.gpu.backend import tensorrt_backend
from bevlite.latency.gpu.ceilings import ceilings
from bevlite.latency.gpu.features import Precision, nms_plugin
from bevlite.latency.onnx.graph import Graph
from bevlite.latency.predictor import check_precision
from bevlite.tensorrt import parse_version

DATA = Path(__file__).parent / "data" / "published_orin.csv"
FURTHER = Path(__file__).parent / "data" / "published_orin_2.csv"
"""Rows that were found later, with power mode, CUDA graph and what was timed in columns of their own."""
HOST_MS = {"agx-orin-64gb": 0.47, "orin-nx-16gb": 0.52, "orin-nano-8gb": 0.60}
"""What a Python loop (Ultralytics' benchmark) adds to an engine: YOLO11n on the Orin Nano took 0.31, 0.61 and 0.87 ms
more in it than between CUDA events, in three precisions, by two projects on a board each (published_orin_2.csv); other
boards by the clocks of their CPUs."""
FUSING_PLUGINS = ("mlcommons", "torchvision:resnet50")
"""MLPerf's ResNet-50 runs a plugin that fuses a whole stage (RES2_FULL_FUSION in its README): no stock engine."""
TRANSFER_GB_PER_S = 15.0
"""Host to device, published for large inputs (15 to 21 GB/s)."""
DEFAULT_TENSORRT = "8.6"
"""Where a source does not state it: JetPack 6 began with it."""


@dataclass(frozen=True)
class Row:
    """One published latency. `nms_anchors`: candidates of an NMS plugin at the end of the engine."""

    id: str
    lineage: str
    network: str
    shape: tuple[int, ...]
    precision: Precision
    device: str
    tensorrt: str
    latency_ms: float
    tier: str
    nms_anchors: int
    transferred_mb: float
    source: str
    power_mode: str = ""
    cuda_graph: bool = False
    how: str = "engine"
    """What was timed: `engine` (GPU compute time) or `python` (a loop around it)."""

    @property
    def stock(self) -> bool:
        """Whether TensorRT built the engine by itself, without plugins that fuse what it does not."""
        source, network = FUSING_PLUGINS
        return source not in self.source or self.network != network

    @property
    def file(self) -> str:
        """The name of the file that its network is kept in, at its input shape."""
        return f"{self.network.replace(':', '_')}_{'x'.join(map(str, self.shape))}.onnx"


def read_rows(path: Path = DATA) -> list[Row]:
    """All rows of the table."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                record["id"],
                record["lineage"],
                record["network"],
                tuple(int(size) for size in record["shape"].split("x")),
                check_precision(record["precision"]),
                record["device"],
                ".".join((record["tensorrt"] or DEFAULT_TENSORRT).split(".")[:2]),
                float(record["latency_ms"]),
                record["tier"],
                int(record["nms_anchors"]),
                float(record["transferred_mb"]),
                record["source"],
                record.get("power_mode", ""),
                record.get("cuda_graph", "no") == "yes",
                record.get("how", "engine"),
            )
            for record in csv.DictReader(file)
        ]


def measurement(row: Row, graph: Graph, device: DeviceConfig | None = None, *, builder: bool = True) -> Measurement:
    """A row as a measurement. Where the source states no CUDA graph, launches cost what they cost in a stream.

    builder: kernels as engines list them; without, as rules of fusion alone would have them.
    """
    backend = tensorrt_backend(parse_version(row.tensorrt))
    backend = backend if builder else replace(backend, rules=replace(backend.rules, builder=False))
    kernels = backend.features(graph, backend.fuse(graph), row.precision)
    if row.nms_anchors:
        kernels.append(nms_plugin(row.nms_anchors))
    return Measurement(
        kernels=tuple(kernels),
        latency_ms=row.latency_ms,
        top=ceilings(device or find_device(row.device), row.power_mode or None, row.cuda_graph),
        family=row.lineage,
        network=row.network,
        extra_ms=row.transferred_mb / TRANSFER_GB_PER_S + (HOST_MS[row.device] if row.how == "python" else 0.0),
    )


def predict_rows(rows: Sequence[Row], graph_of: Callable[[Row], Graph]) -> dict[str, float]:
    """The latency of each row in ms by the shipped coefficients, by the row's id."""
    shipped = load_calibration(SHIPPED).coefficients
    return {row.id: float(predict_ms([measurement(row, graph_of(row))], shipped)[0]) for row in rows}
