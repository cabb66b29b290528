"""One block of GPU memory for all tensors between engines, instead of one for each."""

from __future__ import annotations

from typing import Any, Sequence

from bevlite.agent.python_api.chain import DTYPES
from bevlite.agent.python_api.cuda import Cuda

ALIGNED = 256
"""Bytes: as far as cuMemAlloc aligns, and more than any kernel asks for."""


class Arena(Cuda):
    """CUDA whose `allocate` hands out parts of blocks that were reserved before."""

    def __init__(self, library: Any, spin: bool = False) -> None:
        super().__init__(library, spin)
        self._next = self._end = 0
        self.reserved = 0

    def reserve(self, size: int) -> None:
        """Take a block that the next tensors come from; what an earlier one has left is given up."""
        self._next = super().allocate(size)
        self._end = self._next + size
        self.reserved += size

    def allocate(self, size: int) -> int:
        """A part of the block; memory of its own where the block is used up."""
        address, taken = self._next, aligned(size)
        if address + taken > self._end:
            return super().allocate(size)
        self._next += taken
        return address


def aligned(size: int) -> int:
    """Bytes that a tensor takes of a block."""
    return -(-max(1, size) // ALIGNED) * ALIGNED


def tensor_bytes(engines: Sequence[Any]) -> int:
    """What the tensors of a chain of engines take of a block: each name once."""
    sizes = {}
    for engine in engines:
        for number in range(engine.num_io_tensors):
            name = engine.get_tensor_name(number)
            _, size = DTYPES.get(str(engine.get_tensor_dtype(name)).rpartition(".")[2], ("", 0))
            for n in engine.get_tensor_shape(name):
                size *= max(0, int(n))  # a shape that is not fixed is refused by the chain
            sizes[name] = aligned(size)
    return sum(sizes.values())
