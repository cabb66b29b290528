"""What can be evaluated: a network behind one call, whether it runs in torch or as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from bevlite.models.detector import Detector
from bevlite.run_folder import Run


class Network(Protocol):
    """A batch in, raw maps out as numpy: `heatmap`, `boxes`, and `occupancy` as the class of each voxel."""

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one batch."""
        ...


class TorchNetwork:
    """The trained network of a run in torch, float32."""

    def __init__(self, run: Run, device: torch.device | None = None) -> None:
        variant = run.variant()
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Detector(variant)
        self.network.load_state_dict(run.weights(variant))
        self.network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one batch; occupancy (B, 16 z, 200 y, 200 x) int."""
        inputs = {k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        outputs = self.network(inputs)
        if "occupancy" in outputs:
            outputs["occupancy"] = outputs["occupancy"].argmax(dim=1)
        return {name: value.cpu().numpy() for name, value in outputs.items()}
