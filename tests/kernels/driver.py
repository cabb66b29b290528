"""A stand-in for libcuda.so.1 whose kernels run in the CPU emulation: everything else is the product's own code.

Work waits in its stream until somebody waits for it, and host buffers are read then: what is freed too early shows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tests.kernels.emulation import library


class Driver:
    """The calls that plans need, each returning CUDA's code."""

    def __init__(self) -> None:
        self.memory: list[Any] = []
        self.queue: list[Callable[[], Any]] = []
        self.graphs: list[list[Callable[[], Any]]] = []
        self.captured: list[Callable[[], Any]] | None = None
        self.names: list[bytes] = [b""]
        self.launched: list[str] = []
        self.loaded: list[bytes] = []

    def cuInit(self, flags: Any) -> int:
        return 0

    cuDevicePrimaryCtxRetain = cuDeviceGet = cuStreamCreate = lambda self, made, other: 0

    def cuCtxSetCurrent(self, context: Any) -> int:
        return 0

    def cuDeviceGetAttribute(self, found: Any, attribute: Any, device: Any) -> int:
        found._obj.value = {75: 8, 76: 7}[attribute.value]
        return 0

    def cuMemAlloc_v2(self, address: Any, size: Any) -> int:
        assert self.captured is None, "memory is allocated while a graph is captured"
        self.memory.append(ctypes.create_string_buffer(size.value + 512))
        address._obj.value = -(-ctypes.addressof(self.memory[-1]) // 256) * 256
        return 0

    def cuModuleLoadData(self, made: Any, code: bytes) -> int:
        self.loaded.append(code)
        made._obj.value = len(self.loaded)
        return 0

    def cuModuleGetFunction(self, made: Any, module: Any, name: bytes) -> int:
        self.names.append(name)
        made._obj.value = len(self.names) - 1
        return 0

    def cuMemcpyHtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:
        return self._put(lambda: ctypes.memmove(target.value, source, size.value))

    def cuMemcpyDtoHAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:
        return self._put(lambda: ctypes.memmove(target, source.value, size.value))

    def cuMemsetD8Async(self, target: Any, value: Any, size: Any, stream: Any) -> int:
        return self._put(lambda: ctypes.memset(target.value, value.value, size.value))

    def cuLaunchKernel(self, function: Any, *rest: Any) -> int:
        sizes, arguments = (ctypes.c_uint * 6)(*(size.value for size in rest[:6])), rest[8]
        name = self.names[function.value]

        def launch() -> None:
            self.launched.append(name.decode())
            assert library().emulate(name, sizes, arguments, 0) == 0

        return self._put(launch)

    def cuStreamSynchronize(self, stream: Any) -> int:
        work, self.queue = self.queue, []
        for item in work:
            item()
        return 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        self.captured = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        assert self.captured is not None
        self.graphs.append(self.captured)
        self.captured = None
        graph._obj.value = len(self.graphs)
        return 0

    def cuGraphInstantiateWithFlags(self, made: Any, graph: Any, flags: Any) -> int:
        made._obj.value = graph.value
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:
        return 0

    def cuGraphLaunch(self, graph: Any, stream: Any) -> int:
        self.queue += self.graphs[graph.value - 1]
        return 0

    def _put(self, work: Callable[[], Any]) -> int:
        (self.queue if self.captured is None else self.captured).append(work)
        return 0
