"""The trained network of a run in torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bevlite.models.detector import Detector
from bevlite.models.quantization.network import quantize
from bevlite.models.state import Memory
from bevlite.run_folder import Run, Stage
from bevlite.variant import Variant


class TorchNetwork:
    """The network of a run in float32, with the weights of a stage; a quantized one runs as if in INT8."""

    def __init__(self, run: Run, device: torch.device | None = None, stage: Stage | None = None) -> None:
        variant = run.variant(stage)
        self._load(variant, run.weights(variant, stage), device)
        scales = run.scales(stage)
        if scales is not None:
            quantize(self.network, scales)

    @classmethod
    def of_weights(
        cls, variant: Variant, weights: Mapping[str, torch.Tensor], device: torch.device | None = None
    ) -> TorchNetwork:
        """A network that belongs to no run."""
        made = cls.__new__(cls)
        made._load(variant, weights, device)
        return made

    def _load(self, variant: Variant, weights: Mapping[str, torch.Tensor], device: torch.device | None) -> None:
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = Detector(variant)
        self.network.load_state_dict(weights)
        self.network.to(self.device).eval()
        self._memory = Memory(self.network.states)

    def to_cpu(self) -> None:
        """Run on the CPU from now on."""
        self.device = torch.device("cpu")
        self.network.cpu()

    @torch.inference_mode()
    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one batch."""
        inputs = {k: v.to(self.device) if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
        if self.network.states:
            inputs |= self._memory.inputs(batch["first"], self.device)
        outputs = self.network(inputs)
        self._memory.keep(outputs)
        return {name: value.cpu().numpy() for name, value in self.network.fusion_heads.deployed(outputs).items()}
