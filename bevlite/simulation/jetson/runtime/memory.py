"""Memory of the emulated GPU: arrays by address. What an engine makes of the same inputs is made once."""

from __future__ import annotations

import bisect
import ctypes
import itertools

import numpy as np

from bevlite.simulation.jetson.runtime.engine import Array, Engine

_FIRST_ADDRESS, _ALIGNED = 0x2_0000_0000, 256
_libc = ctypes.CDLL(None)


class Memory:
    """Contents by address. Two places with the same token hold the same bytes."""

    def __init__(self) -> None:
        self._next = _FIRST_ADDRESS
        self._sizes: dict[int, int] = {}
        self._starts: list[int] = []
        self._contents: dict[int, tuple[int, Array]] = {}
        self._seen: dict[tuple[int, int], tuple[int, Array]] = {}
        self._made: dict[tuple[object, ...], dict[str, tuple[int, Array]]] = {}
        self._tokens = itertools.count(1)
        self.allocated = 0

    def allocate(self, size: int) -> int:
        """A new place."""
        address = self._next
        self._next += -(-size // _ALIGNED) * _ALIGNED
        self._sizes[address] = size
        self._starts.append(address)
        self.allocated += size
        return address

    def load(self, address: int, host: int, size: int) -> None:
        """Copy from host memory. What still lies there as it did before is not copied anew."""
        self._require(address, size)
        known = self._seen.get((host, size))
        if known is None or _libc.memcmp(ctypes.c_void_p(host), ctypes.c_void_p(known[1].ctypes.data), size):
            data = np.frombuffer(ctypes.string_at(host, size), np.uint8)
            known = self._seen[host, size] = next(self._tokens), data
        self._contents[address] = known

    def store(self, host: int, address: int, size: int) -> None:
        """Copy to host memory; what was never written is zeros."""
        self._require(address, size)
        _, data = self._contents.get(address, (0, np.zeros(size, np.uint8)))
        ctypes.memmove(host, data.ctypes.data, size)

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the GPU's memory."""
        self._require(target, size)
        self._require(source, size)
        if source in self._contents:
            self._contents[target] = self._contents[source]
        else:
            self._contents.pop(target, None)

    def zero(self, address: int, size: int) -> None:
        """Write zeros, which have the token of what was never written: of both the same is made."""
        self._require(address, size)
        self._contents.pop(address, None)

    def run(self, engine: Engine, addresses: dict[str, int]) -> None:
        """Run an engine on what lies at the addresses of its tensors."""
        inputs = {t.name: self._contents.get(addresses[t.name]) for t in engine.tensors if t.is_input}
        key = (id(engine), *(0 if found is None else found[0] for found in inputs.values()))
        if key not in self._made:
            given = {}
            for tensor in engine.tensors:
                if tensor.is_input:
                    found = inputs[tensor.name]
                    zeros = np.zeros(tensor.shape, tensor.dtype)
                    given[tensor.name] = zeros if found is None else found[1].view(tensor.dtype).reshape(tensor.shape)
            made = engine.compute(given)
            self._made[key] = {
                name: (next(self._tokens), np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8))
                for name, value in made.items()
            }
        for name, content in self._made[key].items():
            self._contents[addresses[name]] = content

    def _require(self, address: int, size: int) -> None:
        """The bytes must lie in one allocation, at its beginning or within."""
        place = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[place] if place >= 0 else address
        left = self._sizes.get(start, 0) - (address - start)
        if size > left:
            raise ValueError(f"a copy of {size} bytes to or from {address:#x}, which has {max(0, left)}")
