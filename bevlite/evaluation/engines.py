"""A network as engines on a board, behind the same call as torch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.inference import Chain, Inference
from bevlite.errors import BevliteError

Prepare = Callable[[Mapping[str, Any], int], dict[str, np.ndarray]]
"""From a batch and a number in it to the tensors that the engines take."""
MAPS = ("heatmap", "boxes", "occupancy")


@dataclass
class EngineNetwork:
    """Exported modules as engines of a board; a batch is sent whole, and its raw maps come back."""

    device: BoardDevice
    modules: Mapping[str, Path]
    precision: str
    prepare: Prepare
    last: Inference | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._chain = Chain(self.modules)
        self._outputs = [name for name in MAPS if name in self._chain.outputs]

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one batch (raises DeviceFault)."""
        frames = [self.prepare(batch, i) for i in range(len(batch["row"]))]
        self.last = self.device.infer(self.modules, frames, self._outputs, self.precision)
        return {name: np.concatenate([_wide(frame[name]) for frame in self.last.frames]) for name in self._outputs}

    def identity(self) -> dict[str, Any]:
        """What the outputs depend on: files, precision, and the board with its versions (raises DeviceFault).

        Raises:
            BevliteError: the board does not say what it is.
        """
        health = self.device.check()
        board = health.identity
        if "tensorrt" not in board:
            why = health.problems[0].message if health.problems else "it does not say its TensorRT"
            raise BevliteError(f"{self.device.name}: {why}")
        known = ("sku", "jetpack", "l4t", "cuda", "driver", "tensorrt", "tensorrt_build")
        return {
            "device": self.device.name,
            "emulated": health.emulated,
            **{key: board[key] for key in known},
            "power_mode": self.device.power_mode or health.conditions.get("power_mode"),
            "precision": self.precision,
            "modules": self._chain.identity,
        }


def _wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float16 else values
