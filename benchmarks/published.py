"""Networks with published latencies on Orin boards, rebuilt with random weights."""

from __future__ import annotations

import warnings
from pathlib import Path

import networks
import onnx
from published_rows import Row

from bevlite.latency.onnx.graph import Graph, read_graph, strip_weights


class Graphs:
    """The networks as graphs without weights, exported once into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, Graph] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def available(self, row: Row) -> bool:
        """Whether the network can be built here (Ultralytics is not a dependency of BEVLite)."""
        return (self.folder / row.file).is_file() or networks.can_build(row.network)

    def of(self, row: Row) -> Graph:
        """The graph of a row's network at its input shape."""
        file = self.file_of(row)
        if file not in self._read:
            self._read[file] = read_graph(file)
        return self._read[file]

    def file_of(self, row: Row) -> Path:
        """The file of a row's network, exported if it is not there yet."""
        file = self.folder / row.file
        if not file.is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = networks.to_onnx(networks.build(row.network, row.shape[-1], row.shape), row.shape)
            onnx.save(strip_weights(model), file)
        return file
