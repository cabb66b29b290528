"""A network as engines on a board, behind the same call as torch and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.inference import Chain, Inference
from bevlite.errors import BevliteError
from bevlite.tensorrt import Precision

Prepare = Callable[[Mapping[str, Any], int], dict[str, np.ndarray]]
"""From a batch and a number in it to the tensors that the engines take."""


@dataclass
class EngineNetwork:
    """Exported modules as engines of a board; a batch is sent whole, and its raw maps come back."""

    device: BoardDevice
    modules: Mapping[str, Path]
    precision: Precision
    prepare: Prepare
    maps: Sequence[str]
    """The raw maps that come back."""
    feeds: Mapping[str, str] = field(default_factory=dict)
    """Inputs that are fed by an output of the frame before, and by which."""
    last: Inference | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._chain = Chain(self.modules)
        self._past: dict[str, np.ndarray] = {}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run one batch (raises DeviceFault)."""
        frames = [self.prepare(batch, i) for i in range(len(batch["row"]))]
        if not self.feeds:
            self.last = self.device.infer(self.modules, frames, list(self.maps), self.precision)
        else:
            starts = [i for i, begins in enumerate(batch["first"]) if bool(begins)]
            if 0 not in starts:
                frames[0] = frames[0] | self._past
            wanted = list(dict.fromkeys([*self.maps, *self.feeds.values()]))
            self.last = self.device.infer(self.modules, frames, wanted, self.precision, feeds=self.feeds, starts=starts)
            self._past = {name: self.last.frames[-1][output] for name, output in self.feeds.items()}
        return {name: np.concatenate([_wide(frame[name]) for frame in self.last.frames]) for name in self.maps}

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
