"""A stand-in for libcuda.so.1, called as ctypes calls it. Data moves when the host waits, so that a buffer that is
read or freed too early is seen."""

from __future__ import annotations

import ctypes
import itertools
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from bevlite.simulation.jetson.runtime.engine import Engine
from bevlite.simulation.jetson.runtime.memory import Memory
from bevlite.simulation.jetson.runtime.timeline import Timeline

INVALID_VALUE, NOT_PERMITTED = 1, 800
CALL_MS, COPY_MS, LAUNCH_MS = 0.001, 0.004, 0.018
"""Host time of a small call, of an asynchronous copy and of a graph."""
Work = Callable[[bool], None]
"""Something in a stream; told whether a graph launches it."""


class Driver:
    """The calls that engines need, each returning CUDA's code. A name that is not here is an AttributeError.

    Attributes:
        timeline: emulated time.
        memory: of the GPU.
        used: bytes that engines and contexts hold beside what was allocated.
    """

    def __init__(self, timeline: Timeline, total: int, copy_ms: Callable[[int], float]) -> None:
        self.timeline = timeline
        self.memory = Memory()
        self.used = 0
        self._total, self._copy_ms = total, copy_ms
        self._handles = itertools.count(1)
        self._queues: dict[int, deque[Callable[[], None]]] = defaultdict(deque)
        self._done: dict[int, int] = defaultdict(int)
        self._capturing: dict[int, list[Work] | None] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._events: dict[int, float] = {}
        self._places: dict[int, tuple[int, int]] = {}
        self._pinned: list[Any] = []

    def enqueue(self, stream: int, engine: Engine, addresses: dict[str, int], first: bool) -> bool:
        """An engine into a stream; False where the stream is captured and the engine allows no graph."""
        if self._capturing.get(stream) is not None and not engine.capturable:
            self._capturing[stream] = None
            return False

        def work(graph: bool) -> None:
            spans = engine.spans_ms(graph, first)
            host_ms = 0.0 if graph else engine.enqueue_ms(graph, first)
            for unit, ms in spans:
                self.timeline.put(stream, unit, ms, host_ms / len(spans))
            self._queues[stream].append(lambda: self.memory.run(engine, addresses))

        self._submit(stream, work)
        return True

    def cuInit(self, flags: Any) -> int:
        return 0

    def cuDeviceGet(self, device: Any, ordinal: Any) -> int:
        device._obj.value = 0
        return 0

    def cuDevicePrimaryCtxSetFlags_v2(self, device: Any, flags: Any) -> int:
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:
        return self._hand_out(context)

    def cuCtxSetCurrent(self, context: Any) -> int:
        return 0

    def cuStreamCreate(self, stream: Any, flags: Any) -> int:
        return self._hand_out(stream)

    def cuStreamSynchronize(self, stream: Any) -> int:
        if stream.value in self._capturing:
            return NOT_PERMITTED
        self.timeline.wait(stream.value)
        self._drain(stream.value, self._put(stream.value))
        return 0

    def cuStreamWaitEvent(self, stream: Any, event: Any, flags: Any) -> int:
        self.timeline.host(CALL_MS)
        if event.value in self._places:  # one that was never recorded is over
            self.timeline.after(stream.value, self._events[event.value])
            other, count = self._places[event.value]
            self._queues[stream.value].append(lambda: self._drain(other, count))
        return 0

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:
        if self._free() < size.value:
            return 2
        address._obj.value = self.memory.allocate(size.value)
        return 0

    def cuMemHostAlloc(self, pointer: Any, size: Any, flags: Any) -> int:
        self._pinned.append(ctypes.create_string_buffer(size.value))
        pointer._obj.value = ctypes.addressof(self._pinned[-1])
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:
        free._obj.value, total._obj.value = self._free(), self._total
        return 0

    def cuMemcpyHtoDAsync_v2(self, address: Any, data: Any, size: Any, stream: Any) -> int:
        target, host, count = address.value, data, size.value
        return self._copy("copy in", stream.value, count, lambda: self.memory.load(target, _place(host), count))

    def cuMemcpyDtoHAsync_v2(self, data: Any, address: Any, size: Any, stream: Any) -> int:
        source, host, count = address.value, data, size.value
        return self._copy("copy out", stream.value, count, lambda: self.memory.store(_place(host), source, count))

    def cuMemcpyDtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:
        to, place, count = target.value, source.value, size.value
        return self._copy("GPU", stream.value, count, lambda: self.memory.copy(to, place, count))

    def cuMemsetD8Async(self, address: Any, value: Any, size: Any, stream: Any) -> int:
        if value.value != 0:
            return INVALID_VALUE
        target, count = address.value, size.value
        return self._copy("GPU", stream.value, count, lambda: self.memory.zero(target, count))

    def cuEventCreate(self, event: Any, flags: Any) -> int:
        return self._hand_out(event)

    def cuEventRecord(self, event: Any, stream: Any) -> int:
        self.timeline.host(CALL_MS)
        self._events[event.value] = self.timeline.mark(stream.value)
        self._places[event.value] = stream.value, self._put(stream.value)
        return 0

    def cuEventElapsedTime(self, ms: Any, first: Any, second: Any) -> int:
        if first.value not in self._events or second.value not in self._events:
            return INVALID_VALUE
        ms._obj.value = self._events[second.value] - self._events[first.value]
        return 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        self._capturing[stream.value] = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        captured = self._capturing.pop(stream.value)
        if captured is None:
            return 901
        self._hand_out(graph)
        self._graphs[graph._obj.value] = captured
        return 0

    def cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> int:
        self._hand_out(made)
        self._graphs[made._obj.value] = self._graphs[graph.value]
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        return 0 if self._graphs.pop(graph.value, None) is not None else INVALID_VALUE

    def cuGraphLaunch(self, graph: Any, stream: Any) -> int:
        self.timeline.host(LAUNCH_MS)
        for work in self._graphs[graph.value]:
            work(True)
        return 0

    def _copy(self, unit: str, stream: int, size: int, move: Callable[[], None]) -> int:
        def work(graph: bool) -> None:
            self.timeline.put(stream, unit, self._copy_ms(size), COPY_MS)
            self._queues[stream].append(move)

        self._submit(stream, work)
        return 0

    def _put(self, stream: int) -> int:
        """How much was put into a stream so far."""
        return self._done[stream] + len(self._queues[stream])

    def _drain(self, stream: int, count: int) -> None:
        """Move the data of a stream's work up to the `count`th."""
        while self._done[stream] < count:
            self._done[stream] += 1
            self._queues[stream].popleft()()

    def _submit(self, stream: int, work: Work) -> None:
        captured = self._capturing.get(stream)
        if captured is not None:
            captured.append(work)
        else:
            work(False)

    def _free(self) -> int:
        return self._total - self.used - self.memory.allocated

    def _hand_out(self, reference: Any) -> int:
        reference._obj.value = next(self._handles)
        return 0


def _place(data: Any) -> int:
    """Address of a host buffer, which the closure that asks keeps alive."""
    return ctypes.addressof(data)
