"""Times frames through all engines of a network, end to end: one of the programs that `runner` starts.

In this order: the first frame after loading, warm-up and frames one after the other, warm-up and frames with two in
flight. What of it is running now is printed, so that whoever reads along can tell power and clocks apart.
"""

from __future__ import annotations

import array
import ctypes
import os
import time
from typing import Any, Callable, Sequence

from bevlite.board.chain import Chain, Network
from bevlite.board.cuda import Cuda, RunnerError
from bevlite.board.flights import Turn, one_in_flight, two_in_flight
from bevlite.board.protocol import Protocol

ONE, TWO, END = "frames: one in flight", "frames: two in flight", "frames: end"
_EXPONENTS = {"float16": ("H", 0x7C00), "float32": ("I", 0x7F800000)}
"""Bits that are all set where a value is not finite."""
Sample = dict
"""Host memory by the name of the input."""


class Lane:
    """Takes one frame at a time through all engines: contexts, tensors, stream, host memory and events of its own."""

    def __init__(self, chain: Chain, outputs: Sequence[str]) -> None:
        cuda = chain.cuda
        self.chain = chain
        self._cuda = cuda
        self._count = len(chain.contexts)
        self._events = [cuda.event() for _ in range(self._count + 3)]
        self._outputs = {name: cuda.pinned(chain.tensors[name].size) for name in outputs}
        self._graphs: list[int | None] = [None] * self._count
        self._began = 0

    def issue(self, sample: Sample) -> None:
        """Put a whole frame into the stream: copies, engines, copies."""
        cuda, stream, tensors = self._cuda, self.chain.stream, self.chain.tensors
        self._began = time.perf_counter_ns()
        cuda.record(self._events[0], stream)
        for name in self.chain.inputs:
            cuda.to_device(tensors[name].address, sample[name], tensors[name].size, stream)
        cuda.record(self._events[1], stream)
        for number, graph in enumerate(self._graphs):
            if graph is None:
                self.chain.enqueue(number)
            else:
                cuda.launch(graph, stream)
            cuda.record(self._events[number + 2], stream)
        for name, buffer in self._outputs.items():
            cuda.to_host(buffer, tensors[name].address, tensors[name].size, stream)
        cuda.record(self._events[-1], stream)

    def finish(self) -> float:
        """Wait until the outputs are in host memory; ms since the frame was issued."""
        self._cuda.wait(self.chain.stream)
        return (time.perf_counter_ns() - self._began) / 1e6

    def parts_ms(self) -> list[float]:
        """GPU time of the last frame: copies in, every engine, copies out."""
        return [self._cuda.elapsed_ms(a, b) for a, b in zip(self._events, self._events[1:])]

    def capture(self) -> list[bool]:
        """Every engine as a CUDA graph from now on, where it allows one. Each has run once before."""
        stream = self.chain.stream
        self._cuda.wait(stream)
        for number in range(self._count):
            self._graphs[number] = self._cuda.capture(stream, lambda n=number: self._accepts(n))  # type: ignore[misc]
        return [graph is not None for graph in self._graphs]

    def not_finite(self) -> list[str]:
        """Outputs of the last frame with values that are not finite."""
        found = []
        for name, buffer in self._outputs.items():
            code, bits = _EXPONENTS.get(self.chain.tensors[name].dtype, ("B", 0))
            if bits and any(value & bits == bits for value in array.array(code, bytes(buffer))):
                found.append(name)
        return found

    def _accepts(self, number: int) -> bool:
        try:
            self.chain.enqueue(number)
        except RunnerError:
            return False
        return True


def run(order: dict[str, Any], trt: Any, library: Any) -> dict[str, Any]:
    """One run of the protocol (raises RunnerError). Latencies and parts in ms, memory in MB."""
    protocol = Protocol(**order["protocol"])
    cuda = Cuda(library, spin=True)
    samples = [{name: _pinned(cuda, path) for name, path in frame.items()} for frame in order["frames"]]
    before = cuda.free_mb()
    network = Network(trt, cuda, order["engines"], order["dla_cores"])
    lane = Lane(Chain(network), order["outputs"])
    _require_fit(lane.chain, samples)
    turn = Turn(samples)
    lane.issue(turn.next())
    first_ms = lane.finish()
    memory_mb = before - cuda.free_mb()
    captured = lane.capture()
    one = one_in_flight(lane, turn, protocol, _say(ONE))
    other = Lane(Chain(network), order["outputs"])
    other.issue(turn.next())
    other.finish()
    other.capture()
    two = two_in_flight([lane, other], turn, protocol, _say(TWO))
    print(END, flush=True)
    return {
        "first_ms": first_ms,
        "one": one,
        "two": two,
        "captured": captured,
        "memory_mb": max(0.0, memory_mb),
        "memory_two_mb": max(0.0, before - cuda.free_mb()),
        "not_finite": lane.not_finite(),
        "tensorrt": str(trt.__version__),
    }


def _say(text: str) -> Callable[[], None]:
    return lambda: print(text, flush=True)


def _pinned(cuda: Cuda, path: str) -> Any:
    """A file in host memory that the GPU copies from by itself, where a preprocessing kernel would leave it."""
    with open(path, "rb") as stream:
        data = stream.read()
    buffer = cuda.pinned(os.path.getsize(path))
    ctypes.memmove(buffer, data, len(data))
    return buffer


def _require_fit(chain: Chain, samples: Sequence[Sample]) -> None:
    for sample in samples:
        for name in chain.inputs:
            size = chain.tensors[name].size
            found = ctypes.sizeof(sample[name]) if name in sample else 0
            if found != size:
                raise RunnerError(f"input '{name}': found {found} bytes; the engine takes {size}")
