"""The exported modules through ONNX Runtime: the same inputs and outputs as the network in torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from bevlite.data.dataset import single
from bevlite.errors import BevliteError, ExportError
from bevlite.models.modules import WHOLE, feeds_of
from bevlite.models.samples import outline
from bevlite.run_folder import Run
from bevlite.tensorrt import EMISSIONS, Emission
from bevlite.variant import Variant

_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
}


class OnnxNetwork:
    """ONNX modules of a variant, run one after the other, one sample at a time."""

    def __init__(self, variant: Variant, files: Mapping[str, Path]) -> None:
        self.variant, self.outline = variant, outline(variant)
        self._maps = [raw.name for task in self.outline.tasks for raw in task.maps]
        self._feeds = feeds_of(self.outline.modules)
        self._past: dict[str, np.ndarray] = {}
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.sessions = {}
        for name, file in files.items():
            try:
                self.sessions[name] = onnxruntime.InferenceSession(
                    str(file), options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime raises classes of its own for each kind of bad file
                raise ExportError(f"{file}: ONNX Runtime does not take it ({str(error).splitlines()[0]})") from None

    @classmethod
    def of_run(cls, run: Run, emission: Emission | None = None) -> OnnxNetwork:
        """The modules that `bevlite export` wrote (weak ones if there are both)."""
        variant = run.variant()
        for candidate in (emission,) if emission else EMISSIONS:
            files = exported(run, variant, candidate)
            if files is not None:
                return cls(variant, files)
        raise BevliteError(f"{run.path}: holds no exported modules; accepted: a run after `bevlite export`")

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run a batch, sample by sample."""
        results = []
        for i in range(len(batch["row"])):
            if "first" in batch and bool(batch["first"][i]):
                self._past = {}
            made = self.tensors(self.inputs(batch, i))
            self._past = {name: made[output] for name, output in self._feeds.items()}
            results.append(made)
        return {name: np.concatenate([r[name] for r in results]) for name in self._maps}

    def inputs(self, batch: Mapping[str, Any], i: int) -> dict[str, np.ndarray]:
        """Engine inputs of sample `i` of a batch but states, at their deployed shapes."""
        return self.outline.deployed(single(batch, i))

    def tensors(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every input, border tensor and output of one sample by name; states as the last batch left them."""
        known = {**self._zeros(), **self._past, **inputs}
        for session in self.sessions.values():
            feed = {i.name: known[i.name].astype(_NUMPY[i.type], copy=False) for i in session.get_inputs()}
            names = [o.name for o in session.get_outputs()]
            known |= dict(zip(names, session.run(names, feed), strict=True))
        return known

    def _zeros(self) -> dict[str, np.ndarray]:
        return {spec.name: np.zeros(spec.shape, dtype=spec.dtype) for spec in self.outline.states}


def exported(run: Run, variant: Variant, emission: Emission) -> dict[str, Path] | None:
    """The files of an emission by module (one `network` where they were exported as one); None if there are none."""
    folder = run.path / "onnx" / emission
    files = {name: folder / f"{name}.onnx" for name in variant.modules}
    if not all(file.is_file() for file in files.values()):
        files = {WHOLE: folder / f"{WHOLE}.onnx"}
    return files if all(file.is_file() for file in files.values()) else None
