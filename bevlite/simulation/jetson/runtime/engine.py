"""What the emulated runtime needs of an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output by name; `kind` is TensorRT's name of its type (`HALF`)."""

    name: str
    is_input: bool
    kind: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of numpy."""
        return np.dtype(DTYPES[self.kind])


DTYPES: dict[str, type[np.generic]] = {
    "FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64, "INT8": np.int8,
    "UINT8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


class Engine(Protocol):
    """An engine that can be run on a timeline."""

    @property
    def tensors(self) -> Sequence[TensorInfo]:
        """Inputs and outputs, in order."""

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can be made of it."""

    @property
    def size_bytes(self) -> int:
        """Memory of the engine."""

    @property
    def context_bytes(self) -> int:
        """Memory of each of its contexts."""

    def spans_ms(self, graph: bool, first: bool) -> list[tuple[str, float]]:
        """Units that a query takes one after the other, and how long; `first` for the first one of a context."""

    def enqueue_ms(self, graph: bool, first: bool) -> float:
        """Host time to hand a query over."""

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs."""
