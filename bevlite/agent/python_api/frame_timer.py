"""Times frames through all engines of a network, end to end: one of the programs that `runner` starts.

In this order: the first frame after loading, warm-up and frames one after the other, warm-up and frames with two in
flight. When a measured part begins and ends is printed, so that whoever reads along can tell power and clocks apart.
"""

from __future__ import annotations

import array
import ctypes
import os
import time
from typing import Any, Callable, NamedTuple, Sequence

from bevlite.agent.protocol.flights import Turn, one_in_flight, two_in_flight
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.python_api.chain import Chain, Network
from bevlite.agent.python_api.cuda import Cuda, OutOfMemory, RunnerError

ONE, ONE_END = "frames: one in flight", "frames: one in flight, end"
TWO, END = "frames: two in flight", "frames: end"
MARKS = (ONE, ONE_END, TWO, END)
"""In the order in which they are printed; the last two are not, where there is no memory for a second frame."""
_EXPONENTS = {"float16": ("H", 0x7C00), "float32": ("I", 0x7F800000)}
"""Bits that are all set where a value is not finite."""


class Frame(NamedTuple):
    """Host memory by the name of the input, and whether a new sequence begins."""

    tensors: dict[str, Any]
    begins: bool


class Past:
    """Which lane had the frame before: it holds the state. None before the first frame."""

    lane: Lane | None = None


class Lane:
    """Takes one frame at a time through all engines: contexts, tensors, stream, host memory and events of its own.

    An engine that needs state waits on the GPU for the lane of the frame before, even where it takes none of it: the
    other lane must not write its next state while this one reads.
    """

    def __init__(self, chain: Chain, outputs: Sequence[str], past: Past) -> None:
        cuda = chain.cuda
        self.chain = chain
        self._cuda = cuda
        self._count = len(chain.contexts)
        self._events = [cuda.event() for _ in range(self._count + 3)]
        self._outputs = {name: cuda.pinned(chain.tensors[name].size) for name in outputs}
        self._graphs: list[int | None] = [None] * self._count
        self._past = past
        self._began = 0

    @property
    def outputs(self) -> dict[str, Any]:
        """Host memory of the outputs by name, filled after `finish`."""
        return self._outputs

    def issue(self, frame: Frame) -> None:
        """Put a whole frame into the stream: copies, engines, copies. State is copied in the part of its engine."""
        cuda, stream, tensors = self._cuda, self.chain.stream, self.chain.tensors
        before, self._past.lane = self._past.lane, self
        source = None if frame.begins or before is None else before.chain
        self._began = time.perf_counter_ns()
        cuda.record(self._events[0], stream)
        for name in self.chain.given(frame.tensors):
            cuda.to_device(tensors[name].address, frame.tensors[name], tensors[name].size, stream)
        cuda.record(self._events[1], stream)
        for number, graph in enumerate(self._graphs):
            if before is not None and before is not self:
                for _, maker in self.chain.state_before(number):
                    cuda.after(stream, before._events[maker + 2])
            self.chain.hand_on(number, frame.tensors, source)
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
        """GPU time between the events of the last frame: copies in, every engine, copies out.

        With two in flight what the GPU did for the other frame meanwhile lies between them as well.
        """
        return [self._cuda.elapsed_ms(a, b) for a, b in zip(self._events, self._events[1:])]

    def capture(self) -> list[bool]:
        """Every engine as a CUDA graph from now on, where it allows one. Each has run once before."""
        stream = self.chain.stream
        self._cuda.wait(stream)
        for number in range(self._count):
            self._graphs[number] = self._cuda.capture(stream, lambda n=number: self._accepts(n))  # type: ignore[misc]
            if self._graphs[number] is None:
                self._accepts(number)  # what the refusal left behind may fail one call; the next one counts
                self._cuda.wait(stream)
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
    frames = [
        Frame({name: _pinned(cuda, path) for name, path in frame.items()}, number == 0 or number in order["starts"])
        for number, frame in enumerate(order["frames"])
    ]
    before = cuda.free_mb()
    network = Network(trt, cuda, order["engines"], order["dla_cores"])
    past = Past()
    lane = Lane(Chain(network, order["feeds"]), order["outputs"], past)
    _require_fit(lane.chain, frames)
    turn = Turn(frames)
    lane.issue(turn.next())
    first_ms = lane.finish()
    captured = lane.capture()
    memory_mb = before - cuda.free_mb()
    one = one_in_flight(lane, turn, protocol, _say(ONE))
    _say(ONE_END)()
    return {
        "first_ms": first_ms,
        "one": one,
        "captured": captured,
        "memory_mb": max(0.0, memory_mb),
        **_two(lane, lambda: Lane(Chain(network, order["feeds"]), order["outputs"], past), turn, protocol, before),
        "not_finite": lane.not_finite(),
        "tensorrt": str(trt.__version__),
    }


def _two(lane: Lane, another: Callable[[], Lane], turn: Turn, protocol: Protocol, before: float) -> dict[str, Any]:
    """With a second lane beside the first one; `before` is what was free without either, in MB.

    Where there is no memory for it, one in flight still stands: the answer is then `why_not_two`, in one line.
    """
    cuda = lane.chain.cuda
    try:
        other = another()
        other.issue(turn.next())
        other.finish()
        captured = other.capture()
        memory_mb = before - cuda.free_mb()
        two = two_in_flight([lane, other], turn, protocol, _say(TWO))
        _say(END)()
    except OutOfMemory as error:
        cuda.wait(lane.chain.stream)  # an error that broke the context comes again here
        return {"two": None, "captured_two": None, "memory_two_mb": None, "why_not_two": str(error)}
    return {"two": two, "captured_two": captured, "memory_two_mb": max(0.0, memory_mb), "why_not_two": None}


def _say(text: str) -> Callable[[], None]:
    return lambda: print(text, flush=True)


def _pinned(cuda: Cuda, path: str) -> Any:
    """A file in host memory that the GPU copies from by itself, where a preprocessing kernel would leave it."""
    with open(path, "rb") as stream:
        data = stream.read()
    buffer = cuda.pinned(os.path.getsize(path))
    ctypes.memmove(buffer, data, len(data))
    return buffer


def _require_fit(chain: Chain, frames: Sequence[Frame]) -> None:
    for frame in frames:
        for name in chain.given(frame.tensors):
            size = chain.tensors[name].size
            found = ctypes.sizeof(frame.tensors[name]) if name in frame.tensors else 0
            if found != size:
                raise RunnerError(f"input '{name}': found {found} bytes; the engine takes {size}")
