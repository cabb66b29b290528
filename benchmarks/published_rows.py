"""Published latencies on Orin boards as measurements of the latency model, once the graphs are there."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
            )
            for record in csv.DictReader(file)
        ]


def measurement(row: Row, graph: Graph, device: DeviceConfig | None = None) -> Measurement:
    """A row as a measurement. No source states a CUDA graph, so launches cost what they cost in a stream."""
    backend = tensorrt_backend(parse_version(row.tensorrt))
    kernels = backend.features(graph, backend.fuse(graph), row.precision)
    if row.nms_anchors:
        kernels.append(nms_plugin(row.nms_anchors))
    return Measurement(
        kernels=tuple(kernels),
        latency_ms=row.latency_ms,
        top=ceilings(device or find_device(row.device), None, cuda_graph=False),
        family=row.lineage,
        network=row.network,
        extra_ms=row.transferred_mb / TRANSFER_GB_PER_S,
    )


def predict_rows(rows: Sequence[Row], graph_of: Callable[[Row], Graph]) -> dict[str, float]:
    """The latency of each row in ms by the shipped coefficients, by the row's id."""
    shipped = load_calibration(SHIPPED).coefficients
    return {row.id: float(predict_ms([measurement(row, graph_of(row))], shipped)[0]) for row in rows}
