"""The exported modules through ONNX Runtime: the same inputs and outputs as the network in torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.data.dataset import single
from bevlite.devices.local.onnx_chain import OnnxChain
from bevlite.errors import BevliteError
from bevlite.inference.exported import exported
from bevlite.models.modules import feeds_of
from bevlite.models.samples import outline
from bevlite.run_folder import Run
from bevlite.tensorrt import EMISSIONS, Emission
from bevlite.variant import Variant


class OnnxNetwork:
    """ONNX modules of a variant, run one after the other, one sample at a time; what is in INT8 on integer kernels."""

    def __init__(self, variant: Variant, files: Mapping[str, Path]) -> None:
        """Load the files (raises ExportError); none where only `inputs` are wanted."""
        self.variant, self.outline = variant, outline(variant)
        self._maps = [raw.name for task in self.outline.tasks for raw in task.maps]
        feeds = feeds_of(self.outline.modules) if files else {}
        self.chain = OnnxChain(files, feeds, integer=True)

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
            begins = "first" not in batch or bool(batch["first"][i])
            results.append(self.chain.frame(self.inputs(batch, i), begins))
        return {name: np.concatenate([r[name] for r in results]) for name in self._maps}

    def inputs(self, batch: Mapping[str, Any], i: int) -> dict[str, np.ndarray]:
        """Engine inputs of sample `i` of a batch but states, at their deployed shapes."""
        return self.outline.deployed(single(batch, i))

    def tensors(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every input, border tensor and output of one sample by name; it begins a sequence."""
        return self.chain.frame(inputs)
