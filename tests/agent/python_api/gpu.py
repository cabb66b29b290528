"""The emulated runtime with engines whose results and times are known: no board, no model of time.

An engine file is JSON: inputs and outputs with type and shape, the factor that the first input is multiplied by (or
`weights`: of the inputs by name, whose sum is every output), and `spans`: for how long it takes which unit of the chip,
in ms.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from bevlite.simulation.jetson.runtime.api import api
from bevlite.simulation.jetson.runtime.driver import Driver
from bevlite.simulation.jetson.runtime.engine import TensorInfo
from bevlite.simulation.jetson.runtime.timeline import Timeline

TOTAL = 10_000_000
COPY_MS = 0.25


class KnownEngine:
    """An engine by its file."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.tensors = [
            TensorInfo(name, role == "inputs", kind, tuple(shape))
            for role in ("inputs", "outputs")
            for name, (kind, shape) in data[role].items()
        ]
        self.capturable = data.get("capturable", True)
        self.size_bytes, self.context_bytes = data.get("size", 0), data.get("context", 0)
        self.launched: list[bool] = []

    def spans_ms(self, graph: bool, first: bool) -> list[tuple[str, float]]:
        self.launched.append(graph)
        return [(unit, ms + (self.data.get("first", 0.0) if first else 0.0)) for unit, ms in self.data["spans"]]

    def enqueue_ms(self, graph: bool, first: bool) -> float:
        return float(self.data.get("enqueue", 0.0))

    def compute(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        weights = self.data.get("weights") or {next(iter(inputs)): self.data["factor"]}
        with np.errstate(invalid="ignore"):
            first = sum(inputs[name] * weight for name, weight in weights.items())
        return {t.name: first.astype(t.dtype) for t in self.tensors if not t.is_input}


class Gpu(Driver):
    """The driver, where one call may fail. All copies take the same time."""

    def __init__(self, fails: str = "", code: int = 700, total: int = TOTAL) -> None:
        super().__init__(Timeline(), total, lambda size: COPY_MS)
        self.engines: list[KnownEngine] = []
        if fails:
            setattr(self, fails, lambda *arguments: code)

    def tensorrt(self, version: str = "10.3.0.30") -> Any:
        """The module `tensorrt` on this GPU."""

        def load(plan: bytes, dla_core: int) -> KnownEngine | None:
            if not plan.startswith(b"{"):
                return None
            data = json.loads(plan)
            assert data.get("dla", -1) == dla_core
            self.engines.append(KnownEngine(data))
            return self.engines[-1]

        return SimpleNamespace(**api(self, load, version))


def engine(inputs: Mapping[str, Any], outputs: Mapping[str, Any], factor: float, **more: Any) -> dict[str, Any]:
    """The content of an engine file; one millisecond of the GPU unless `spans` says otherwise."""
    return {"inputs": inputs, "outputs": outputs, "factor": factor, "spans": [["GPU", 1.0]], **more}


FIRST = engine({"x": ["FLOAT", [2, 3]]}, {"map": ["HALF", [2, 3]]}, 2)
SECOND = engine({"map": ["HALF", [2, 3]], "t": ["INT32", [4]]}, {"y": ["FLOAT", [2, 3]]}, 10)
