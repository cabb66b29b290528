"""What a step is to the GPU: buffers, and launches in order. Fixed by shapes, so that a CUDA graph can hold it.

A plan knows what it moves: every launch says how many bytes it must read and write at least, each buffer counted once a
launch, whatever caches do. That is what its time is held against.
"""

from __future__ import annotations

from typing import Mapping, NamedTuple, Sequence, Union

ITEM_BYTES = {"uint8": 1, "float16": 2, "int32": 4, "float32": 4, "float64": 8, "uint64": 8}
NARROW_BLOCKS = 16
"""Multiprocessors of an AGX Orin."""
ALIGNMENT = 256
"""Buffers begin at multiples of it, in bytes."""


class Double(float):
    """A number that a kernel takes as a double."""


Value = Union[str, int, float, Double]
"""What a kernel takes: the name of a buffer, an int32, a float32 or a double."""
NO_BUFFER = ""
"""In place of a buffer's name: a null pointer."""


class Buffer(NamedTuple):
    """An array on the GPU: type, shape, and its role: input, constant, scratch or output."""

    dtype: str
    shape: tuple[int, ...]
    role: str

    @property
    def size(self) -> int:
        """Bytes."""
        count = ITEM_BYTES[self.dtype]
        for length in self.shape:
            count *= length
        return count


class Launch(NamedTuple):
    """One kernel: source file, function, blocks and threads a block (x, y, z), arguments, bytes read and written.

    shared: bytes of dynamic shared memory.
    """

    source: str
    function: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    arguments: tuple[Value, ...]
    read: int
    written: int
    shared: int = 0


class Zero(NamedTuple):
    """Write zeros over a buffer, as the driver does."""

    buffer: str
    written: int


class Plan(NamedTuple):
    """A step: buffers by name, contents of its constants, and its work in order."""

    name: str
    buffers: Mapping[str, Buffer]
    constants: Mapping[str, bytes]
    work: Sequence[Launch | Zero]

    @property
    def launches(self) -> int:
        """How many kernels and memory sets run a frame."""
        return len(self.work)

    @property
    def traffic(self) -> int:
        """Bytes that a frame must read and write."""
        return sum(item.written + (item.read if isinstance(item, Launch) else 0) for item in self.work)

    @property
    def narrow(self) -> int:
        """Kernels of so few blocks that most of a GPU has nothing to do: how long they take, bytes do not tell."""
        return sum(_blocks(item) < NARROW_BLOCKS for item in self.work if isinstance(item, Launch))

    @property
    def sources(self) -> Sequence[str]:
        """The files that it needs, each once."""
        return list(dict.fromkeys(item.source for item in self.work if isinstance(item, Launch)))

    def places(self) -> tuple[dict[str, int], int]:
        """Where each buffer begins in one arena, in bytes, and how large that is."""
        found, end = {}, 0
        for name, buffer in self.buffers.items():
            found[name] = end
            end += -(-max(1, buffer.size) // ALIGNMENT) * ALIGNMENT
        return found, end


def _blocks(launch: Launch) -> int:
    return launch.grid[0] * launch.grid[1] * launch.grid[2]
