"""A measurement made ready on the host: what each module asks of the board, and every file that has to travel."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from bevlite.devices.contract import Inputs, Precision, precision_of
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.inference import Blobs, Chain
from bevlite.devices.settings import BuildSettings
from bevlite.devices.state import require_starts
from bevlite.errors import BevliteError

Files = dict[str, Path | bytes]
"""What travels, by its SHA-256."""


@dataclass(frozen=True)
class Order:
    """The jobs of a measurement by module, in order, and the files of all of them.

    All are sent before the board is taken: nobody waits for a board that waits for a transfer. `made_up` names the
    inputs by module that were not given.
    """

    modules: dict[str, Path]
    precision: Precision
    jobs: dict[str, dict[str, Any]]
    files: Files
    made_up: dict[str, list[str]]

    @classmethod
    def of(
        cls,
        device: str,
        settings: BuildSettings,
        modules: Mapping[str, Path],
        precision: Precision,
        inputs: Mapping[str, Inputs] | None,
    ) -> Order:
        """Read the files and hash them (raises BevliteError)."""
        if not modules:
            raise BevliteError(f"{device}: found no ONNX modules; accepted: at least one")
        jobs: dict[str, dict[str, Any]] = {}
        files, invented = Files(), {}
        for name, path in modules.items():
            graph = GraphFile.read(path)
            tensors, made_up = graph.complete((inputs or {}).get(name, {}))
            if made_up:
                invented[name] = made_up
            blobs = Blobs.of([tensors])
            files |= {graph.sha256: graph.content, **blobs.files}
            build = build_of(device, settings, name, graph, precision_of(precision, name), files)
            jobs[name] = {"onnx": graph.sha256, "inputs": blobs.frames[0], "build": build}
        return cls(dict(modules), precision, jobs, files, invented)

    @property
    def notes(self) -> list[str]:
        """What a report must say of it."""
        what = "made-up values for {}: latency may depend on them"
        return [f"{name}: {what.format(', '.join(inputs))}" for name, inputs in self.made_up.items()]


def build_of(
    device: str, settings: BuildSettings, name: str, graph: GraphFile, precision: str, files: Files
) -> dict[str, object]:
    """How a module is built; a calibration cache that it needs is put to the files (raises BevliteError)."""
    calibration = None
    if name in settings.calibration and precision == "int8" and not graph.quantized:
        try:
            content = Path(settings.calibration[name]).expanduser().read_bytes()
        except OSError as error:
            raise BevliteError(f"{device}: calibration: {name}: {error.strerror}: {error.filename}") from None
        calibration = hashlib.sha256(content).hexdigest()
        files[calibration] = content
    return {
        "precision": precision,
        "strongly_typed": graph.strongly_typed,
        "quantized": graph.quantized,
        "calibration": calibration,
        "workspace_mb": settings.workspace_mb,
        "optimization_level": settings.optimization_level,
        "dla_core": settings.dla.get(name),
    }


def network_of(
    device: str, settings: BuildSettings, chain: Chain, blobs: Blobs, starts: Collection[int], precision: Precision
) -> tuple[Files, dict[str, Any]]:
    """What travels for a network and its frames, and what a request says of both (raises BevliteError)."""
    files: Files = {graph.sha256: graph.content for graph in chain.graphs.values()}
    files |= blobs.files
    modules: list[dict[str, object]] = [
        {
            "name": name,
            "onnx": graph.sha256,
            "inputs": list(graph.inputs),
            "outputs": {output: str(kind) for output, (kind, _) in graph.outputs.items()},
            "build": build_of(device, settings, name, graph, precision_of(precision, name), files),
        }
        for name, graph in chain.graphs.items()
    ]
    return files, {
        "modules": modules,
        "frames": blobs.frames,
        "feeds": chain.feeds,
        "starts": require_starts(starts, len(blobs.frames)),
        "state_bytes": {name: prod(chain.inputs[name][1]) * chain.inputs[name][0].itemsize for name in chain.feeds},
    }
