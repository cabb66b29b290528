"""Published latencies on Orin boards as measurements of the latency model: networks rebuilt with random weights."""

from __future__ import annotations

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path

import networks
import onnx

from bevlite.latency.calibration.calibration import Measurement
from bevlite.latency.device import DeviceConfig, find_device
from bevlite.latency.gpu.features import Precision, kernel_features, nms_plugin
from bevlite.latency.gpu.fusion import fuse, tensorrt_rules
from bevlite.latency.gpu.timing import ceilings
from bevlite.latency.onnx.graph import Graph, read_graph, strip_weights
from bevlite.latency.predictor import check_precision, parse_version

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


class Graphs:
    """The networks as graphs without weights, exported once into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, Graph] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def available(self, row: Row) -> bool:
        """Whether the network can be built here (Ultralytics is not a dependency of BEVLite)."""
        return self._file(row).is_file() or networks.can_build(row.network)

    def of(self, row: Row) -> Graph:
        """The graph of a row's network at its input shape."""
        file = self._file(row)
        if not file.is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = networks.to_onnx(networks.build(row.network, row.shape[-1]), row.shape)
            onnx.save(strip_weights(model), file)
        if file not in self._read:
            self._read[file] = read_graph(file)
        return self._read[file]

    def _file(self, row: Row) -> Path:
        return self.folder / f"{row.network.replace(':', '_')}_{'x'.join(map(str, row.shape))}.onnx"


def measurement(row: Row, graphs: Graphs, device: DeviceConfig | None = None) -> Measurement:
    """A row as a measurement. No source states a CUDA graph, so launches cost what they cost in a stream."""
    graph = graphs.of(row)
    fused = fuse(graph, tensorrt_rules(parse_version(row.tensorrt)))
    kernels = kernel_features(graph, fused, row.precision)
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
