"""A candidate as files that a board can build: its modules with random weights, and real inputs for them.

Latency depends on the graph and on the shapes, not on what the weights have learnt, so a candidate is measured before
anything is trained.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.config import to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.devices.contract import Inputs
from bevlite.tensorrt import Form

if TYPE_CHECKING:  # imports torch
    from bevlite.models.modules import Module
    from bevlite.variant import Variant


@dataclass(frozen=True)
class ModuleFile:
    """A module as ONNX, its inputs on a real sample (none without data), and where those come from."""

    path: Path
    inputs: Inputs
    note: str


class Candidate:
    """The modules of a variant (or, with `whole`, the network as one), exported when they are asked for."""

    def __init__(self, variant: Variant, data: DataConfig, form: Form, *, whole: bool = False) -> None:
        self._variant, self._data, self._form, self._whole = variant, data, form, whole
        self._folder = tempfile.TemporaryDirectory(prefix="bevlite-candidate-")

    def __enter__(self) -> Candidate:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def module(self, name: str) -> ModuleFile:
        """One module (raises BevliteError when the variant cannot be exported)."""
        inputs, note = self._inputs
        return ModuleFile(self._file(name), inputs.get(name, {}), note)

    @cached_property
    def _plans(self) -> dict[str, Module]:
        import torch

        from bevlite.export.graph.emit import require_buildable
        from bevlite.models.detector import Detector
        from bevlite.models.modules import modules_of, whole_module

        require_buildable(self._variant, self._form)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = Detector(self._variant).eval()
        plans = [whole_module(network)] if self._whole else modules_of(network)
        return {plan.name: plan for plan in plans}

    @cached_property
    def _inputs(self) -> tuple[dict[str, Inputs], str]:
        """Inputs of every module on a real sample: what one module gets, the ones before it have computed."""
        from bevlite.export.of_run import inputs_of_run
        from bevlite.export.real import real_batches
        from bevlite.run_folder import Run

        run = Run(Path(self._folder.name))
        write_atomic(run.path / "variant.yaml", to_yaml(self._variant))
        write_atomic(run.path / "data.yaml", to_yaml(self._data))
        batches, note = real_batches(run, 1)
        if not batches:
            return {}, note.replace("parity not checked", "no real inputs")
        inputs, note = inputs_of_run(run, {name: self._file(name) for name in self._plans})
        return dict(inputs), note

    def _file(self, name: str) -> Path:
        from bevlite.export.graph.emit import emit
        from bevlite.export.graph.graphs import planned_int8

        path = Path(self._folder.name) / "onnx" / f"{name}.onnx"
        if not path.is_file():
            plan, quantized = self._variant.compression.precision_of, planned_int8(self._variant)
            write_atomic(path, emit(self._plans[name], self._form, plan, quantized).SerializeToString())
        return path
