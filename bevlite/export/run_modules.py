"""What `bevlite export` left in a run, for a device: the modules, and real tensors to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bevlite.errors import BevliteError
from bevlite.export.check.operators import check_model, version_key
from bevlite.export.graph.modules import EMISSIONS, WHOLE, Emission, form_for
from bevlite.export.run import real_batches
from bevlite.export.session import OnnxNetwork
from bevlite.latency.pipeline import PipelineStep, steps_for
from bevlite.run_folder import Run


@dataclass(frozen=True)
class RunModules:
    """What `bevlite export` left in a run: files by module, the steps around them, and the variant's precision."""

    modules: dict[str, Path]
    emission: Emission
    pipeline: tuple[PipelineStep, ...]
    precision: str


def modules_of_run(run: Run, tensorrt: str | None) -> RunModules:
    """The exported modules that a TensorRT version takes (None: whichever there are).

    Raises:
        BevliteError: the run is not exported in that emission, or with operators that the version has not.
    """
    variant = run.variant()
    wanted: tuple[Emission, ...] = EMISSIONS
    if tensorrt is not None:
        wanted = (form_for(tensorrt).emission,)
    for emission in wanted:
        folder = run.path / "onnx" / emission
        files = {name: folder / f"{name}.onnx" for name in variant.modules}
        if not all(file.is_file() for file in files.values()):
            files = {WHOLE: folder / f"{WHOLE}.onnx"}
        if all(file.is_file() for file in files.values()):
            if tensorrt is not None:
                _require_operators(files, tensorrt)
            steps = steps_for(
                cameras=variant.camera.images.cameras if variant.camera is not None else 0,
                sweeps=variant.lidar.sweeps if variant.lidar is not None else 0,
                detection=variant.heads.detection is not None,
            )
            return RunModules(files, emission, tuple(steps), variant.compression.precision)
    version = f" for TensorRT {tensorrt}" if tensorrt else ""
    raise BevliteError(f"{run.path}: holds no exported modules{version}; accepted: a run after `bevlite export`")


def _require_operators(files: Mapping[str, Path], tensorrt: str) -> None:
    """An export for later versions may hold operators that 8.5 has not."""
    if version_key(tensorrt) != "8.5":
        return
    for name, file in files.items():
        missing = next((f for f in check_model(file, ["8.5"]) if f.severity == "error"), None)
        if missing is not None:
            raise BevliteError(f"{file}: {name}: {missing.reason}; accepted: `bevlite export --tensorrt 8.5`")


def inputs_of_run(run: Run, modules: Mapping[str, Path]) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Every module's inputs on a real sample, computed by ONNX Runtime, and where the sample comes from.

    Without the run's data there are none, and the note says so.
    """
    batches, note = real_batches(run, 1)
    if not batches:
        return {}, note.replace("parity not checked", "no real inputs")
    network = OnnxNetwork(run.variant(), modules)
    known = network.tensors(network.inputs(batches[0], 0))
    found = {
        name: {value.name: known[value.name] for value in session.get_inputs()}
        for name, session in network.sessions.items()
    }
    return found, f"inputs: {note}"
