"""A run as a request: its exported modules, and real tensors to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bevlite.errors import BevliteError
from bevlite.export.check.operators import check_model
from bevlite.export.of_variant import steps_of
from bevlite.export.real import real_batches
from bevlite.export.request import Request
from bevlite.inference.exported import exported
from bevlite.inference.onnx import OnnxNetwork
from bevlite.models.modules import feeds_of
from bevlite.models.samples import outline
from bevlite.run_folder import Run
from bevlite.tensorrt import FORMS, OLDEST, Precision, form_for, is_oldest


def request_of_run(run: Run, tensorrt: str | None, precision: str = "") -> Request:
    """The exported modules of a run that a TensorRT version takes (None: whichever there are).

    Raises:
        BevliteError: the run is not exported in that form, from other weights or in another precision, or with
            operators that the version has not.
    """
    variant = run.variant().with_precision(precision)
    chosen: Precision = variant.precision
    wanted = [form_for(tensorrt, chosen)] if tensorrt is not None else list(FORMS.values())
    for form in wanted:
        files = exported(run, variant, form.emission)
        if files is not None:
            if tensorrt is not None:
                _require_operators(files, tensorrt)
            return Request(files, form, chosen, steps_of(variant), feeds_of(outline(variant).modules))
    version = f" for TensorRT {tensorrt}" if tensorrt else ""
    raise BevliteError(
        f"{run.path}: holds no exported modules of its last weights and precision plan{version}; accepted: a run "
        "after `bevlite export`"
    )


def _require_operators(files: Mapping[str, Path], tensorrt: str) -> None:
    """An export for later versions may hold operators that the oldest has not."""
    if not is_oldest(tensorrt):
        return
    for name, file in files.items():
        missing = next((f for f in check_model(file, [OLDEST]) if f.severity == "error"), None)
        if missing is not None:
            raise BevliteError(f"{file}: {name}: {missing.reason}; accepted: `bevlite export --tensorrt {OLDEST}`")


def inputs_of_run(run: Run, modules: Mapping[str, Path]) -> tuple[dict[str, dict[str, np.ndarray]], str]:
    """Every module's inputs on a real sample, computed by ONNX Runtime, and where the sample comes from.

    Without the run's data there are none, and the note says so.
    """
    batches, note = real_batches(run, 1)
    if not batches:
        return {}, note.replace("parity not checked", "no real inputs")
    network = OnnxNetwork(run.variant(), modules)
    known = network.tensors(network.inputs(batches[0], 0))
    chain = network.chain
    found = {name: {tensor: known[tensor] for tensor in chain.inputs_of(name)} for name in chain.names}
    return found, f"inputs: {note}"
