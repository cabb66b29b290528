"""A step around the engines: its plan for a GPU, and the same in numpy."""

from __future__ import annotations

import ctypes
import logging
from dataclasses import dataclass
from typing import Any, Callable, Literal, Mapping

import numpy as np

from bevlite.agent.kernels.launching import Kernels, Loaded
from bevlite.agent.kernels.plan import ALIGNMENT, ITEM_BYTES, Buffer, Launch, Plan, Zero
from bevlite.agent.python_api.cuda import Cuda, RunnerError

Arrays = Mapping[str, np.ndarray]
_LOG = logging.getLogger(__name__)
Floats = Literal["float32", "float16"]
"""What floats an engine takes and gives: FP16 in strongly typed networks (TensorRT 10 and later)."""
THREADS = 256
"""Threads of a block where nothing asks for another number."""


@dataclass(frozen=True)
class Step:
    """One step.

    plan: launches and buffers. reference: inputs by name to outputs by name and shape as in the plan, in numpy.
    check: raises ValueError where outputs say that the inputs did not fit; their numbers mean nothing then.
    """

    plan: Plan
    reference: Callable[[Arrays], dict[str, np.ndarray]]
    check: Callable[[Arrays], None] = lambda outputs: None


def run(step: Step, inputs: Arrays, kernels: Kernels | None) -> dict[str, np.ndarray]:
    """Outputs of a step for one frame from host memory and back: on the GPU, or in numpy where there are no kernels.

    Raises:
        ValueError: an input is larger than there is room for, or the outputs say that it did not fit.
    """
    check_inputs(step.plan, inputs)
    outputs = step.reference(inputs) if kernels is None else _on_gpu(step.plan, inputs, kernels)
    step.check(outputs)
    return outputs


def kernels_or_none(libcuda: Any = None, nvrtc: Any = None) -> Kernels | None:
    """The kernels of this machine's GPU, or None, which is said: the same steps then run in numpy on the CPU.

    Args:
        libcuda: CUDA's driver library; by default that of this machine.
        nvrtc: its compiler; likewise.
    """
    try:
        return Kernels(Cuda(ctypes.CDLL("libcuda.so.1") if libcuda is None else libcuda), nvrtc)
    except (OSError, RunnerError) as error:
        _LOG.warning("no CUDA kernels (%s): the steps around the engines run in numpy on the CPU, slowly", error)
        return None


def check_inputs(plan: Plan, inputs: Arrays) -> None:
    """Raise a ValueError where an input is missing, of another type, or larger than its buffer."""
    for name, buffer in plan.buffers.items():
        if buffer.role != "input":
            continue
        if name not in inputs:
            raise ValueError(f"{plan.name}: {name}: missing; accepted: {buffer.dtype} {buffer.shape}")
        given = inputs[name]
        fits = given.ndim == len(buffer.shape) and given.shape[1:] == buffer.shape[1:]
        if not fits or len(given) > buffer.shape[0] or given.dtype != buffer.dtype:
            raise ValueError(
                f"{plan.name}: {name}: found {given.dtype} {given.shape}; accepted: {buffer.dtype} {buffer.shape}"
            )


def _on_gpu(plan: Plan, inputs: Arrays, kernels: Kernels) -> dict[str, np.ndarray]:
    stream = kernels.cuda.stream()
    loaded = Loaded(kernels, plan, {}, stream)
    kept = {name: np.ascontiguousarray(inputs[name]) for name, buffer in plan.buffers.items() if buffer.role == "input"}
    for name, array in kept.items():
        loaded.write(name, array.ctypes.data, array.nbytes, stream)
    loaded.enqueue(stream)
    return {
        name: np.frombuffer(loaded.read(name, stream), buffer.dtype).reshape(buffer.shape)
        for name, buffer in plan.buffers.items()
        if buffer.role == "output"
    }


class Builder:
    """Puts a plan together: buffers are named once, and launches count what they read and write of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._buffers: dict[str, Buffer] = {}
        self._constants: dict[str, bytes] = {}
        self._work: list[Any] = []

    def buffer(self, name: str, dtype: str, shape: tuple[int, ...], role: str) -> int:
        """A buffer; its bytes."""
        self._buffers[name] = Buffer(dtype, tuple(int(length) for length in shape), role)
        return self._buffers[name].size

    def constant(self, name: str, array: np.ndarray) -> int:
        """An array that does not change; its bytes."""
        self._constants[name] = np.ascontiguousarray(array).tobytes()
        return self.buffer(name, str(array.dtype), array.shape, "constant")

    def zero(self, name: str) -> None:
        """Zeros over a buffer."""
        self._work.append(Zero(name, self._buffers[name].size))

    def launch(
        self,
        kernel: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: tuple[Any, ...],
        *,
        read: int,
        written: int,
        shared: int = 0,
    ) -> None:
        """A kernel `file.function`; `grid` and `block` may leave out what is 1."""
        source, function = kernel.split(".")
        sizes = _three(grid), _three(block)
        self._work.append(Launch(source, function, *sizes, arguments, int(read), int(written), shared))

    def plan(self) -> Plan:
        """The plan."""
        return Plan(self.name, self._buffers, self._constants, tuple(self._work))


def _three(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def blocks_of(items: int, threads: int = THREADS) -> int:
    """Blocks that have a thread for each item."""
    return max(1, -(-items // threads))


def padded(items: int, dtype: str) -> int:
    """Items after which a part of a buffer may begin."""
    each = ALIGNMENT // ITEM_BYTES[dtype]
    return -(-items // each) * each
