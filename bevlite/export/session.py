"""The exported modules through ONNX Runtime: the same inputs and outputs as the network in torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from bevlite.errors import BevliteError, ExportError
from bevlite.export.graph.modules import EMISSIONS, WHOLE, Emission
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
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
        self.variant = variant
        with torch.device("meta"):  # for its geometry alone: no weights are needed
            self.view_transform = Detector(variant).view_transform
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
        for candidate in (emission,) if emission else EMISSIONS:
            folder = run.path / "onnx" / str(candidate)
            whole = folder / f"{WHOLE}.onnx"
            variant = run.variant()
            files = {name: folder / f"{name}.onnx" for name in variant.modules}
            if all(file.is_file() for file in files.values()):
                return cls(variant, files)
            if whole.is_file():
                return cls(variant, {WHOLE: whole})
        raise BevliteError(f"{run.path}: holds no exported modules; accepted: a run after `bevlite export`")

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run a batch, sample by sample; `occupancy` is the class of each voxel (B, 16 z, 200 y, 200 x)."""
        count = len(batch["row"])
        results = [self.tensors(self.inputs(batch, i)) for i in range(count)]
        outputs = [name for name in ("heatmap", "boxes", "occupancy") if name in results[0]]
        return {name: np.concatenate([r[name] for r in results]) for name in outputs}

    def inputs(self, batch: Mapping[str, Any], i: int) -> dict[str, np.ndarray]:
        """Engine inputs of sample `i` of a batch, at their deployed shapes."""
        inputs: dict[str, np.ndarray] = {}
        if self.variant.camera is not None:
            assert self.view_transform is not None
            inputs["images"] = batch["images"][i : i + 1].numpy()
            inputs |= self.view_transform.geometry(batch["pixel_to_bev"][i].numpy())
        if self.variant.lidar is not None:
            pillars = batch["pillars"][i].numpy()
            capacity = self.variant.lidar.pillars.max_pillars
            padded = np.zeros((1, *pillars.shape[:2], capacity), dtype=np.float32)
            padded[0, :, :, : min(pillars.shape[2], capacity)] = pillars[:, :, :capacity]
            inputs["pillars"] = padded
            inputs["pillar_index"] = batch["pillar_index"][i : i + 1].numpy()
        return inputs

    def tensors(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every input, border tensor and output of one sample by name."""
        known = dict(inputs)
        for session in self.sessions.values():
            feed = {i.name: known[i.name].astype(_NUMPY[i.type], copy=False) for i in session.get_inputs()}
            names = [o.name for o in session.get_outputs()]
            known |= dict(zip(names, session.run(names, feed), strict=True))
        return known
