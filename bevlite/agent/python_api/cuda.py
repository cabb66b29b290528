"""CUDA's driver library by ctypes: the few calls that running and timing engines needs.

Part of the programs that `runner` starts, never of the agent itself. Signatures: cuda.h of 11.4, which later versions
still export under these names.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable

_SPIN = 1
"""CU_CTX_SCHED_SPIN: wait busily, as trtexec does with --useSpinWait."""
_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads of the libraries do is no matter."""

_MAJOR, _MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR."""

_NO_MEMORY = 2
"""CUDA_ERROR_OUT_OF_MEMORY, which leaves the context usable."""


class RunnerError(Exception):
    """An engine cannot be run; the message is one line."""


class OutOfMemory(RunnerError):
    """There is not enough memory. What was made before can still be used."""


class Cuda:
    """The first GPU in its primary context, which is the one that TensorRT works in as well. `library` is libcuda."""

    def __init__(self, library: Any, spin: bool = False) -> None:
        self._library = library
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        if spin:
            self._call("cuDevicePrimaryCtxSetFlags_v2", device, ctypes.c_uint(_SPIN))
        self._device = device
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)

    def stream(self) -> int:
        """Handle of a new stream."""
        made = ctypes.c_void_p()
        self._call("cuStreamCreate", ctypes.byref(made), ctypes.c_uint(1))  # it waits for no other stream
        return int(made.value or 0)

    def allocate(self, size: int) -> int:
        """Memory on the GPU; freed when the process ends."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(1, size)))
        return int(address.value)

    def pinned(self, size: int) -> Any:
        """Host memory that the GPU copies from and to by itself; freed when the process ends."""
        pointer = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(pointer), ctypes.c_size_t(max(1, size)), ctypes.c_uint(0))
        return (ctypes.c_char * size).from_address(pointer.value or 0)

    def to_device(self, address: int, data: Any, size: int, stream: int) -> None:
        """Copy from a host buffer, which must live and stay until `wait`."""
        target, count = ctypes.c_uint64(address), ctypes.c_size_t(size)
        self._call("cuMemcpyHtoDAsync_v2", target, data, count, ctypes.c_void_p(stream))

    def to_host(self, data: Any, address: int, size: int, stream: int) -> None:
        """Copy to a host buffer, which is filled after `wait`."""
        source, count = ctypes.c_uint64(address), ctypes.c_size_t(size)
        self._call("cuMemcpyDtoHAsync_v2", data, source, count, ctypes.c_void_p(stream))

    def copy(self, target: int, source: int, size: int, stream: int) -> None:
        """Copy on the GPU, from one address to another."""
        places = ctypes.c_uint64(target), ctypes.c_uint64(source)
        self._call("cuMemcpyDtoDAsync_v2", *places, ctypes.c_size_t(size), ctypes.c_void_p(stream))

    def zero(self, address: int, size: int, stream: int) -> None:
        """Write zeros."""
        target, count = ctypes.c_uint64(address), ctypes.c_size_t(size)
        self._call("cuMemsetD8Async", target, ctypes.c_ubyte(0), count, ctypes.c_void_p(stream))

    def after(self, stream: int, event: int) -> None:
        """What is put into the stream from now on waits for what the event was last recorded behind."""
        self._call("cuStreamWaitEvent", ctypes.c_void_p(stream), ctypes.c_void_p(event), ctypes.c_uint(0))

    def wait(self, stream: int) -> None:
        """Until the stream is empty."""
        self._call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def event(self) -> int:
        """Handle of a new event that takes the time."""
        made = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(made), ctypes.c_uint(0))
        return int(made.value or 0)

    def record(self, event: int, stream: int) -> None:
        """Take the time when the stream comes to this place."""
        self._call("cuEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def elapsed_ms(self, first: int, second: int) -> float:
        """Time between two events that have happened, in ms; steps of about half a microsecond."""
        found = ctypes.c_float()
        self._call("cuEventElapsedTime", ctypes.byref(found), ctypes.c_void_p(first), ctypes.c_void_p(second))
        return float(found.value)

    def capture(self, stream: int, work: Callable[[], bool]) -> int | None:
        """What `work` puts into the stream as a graph that can be launched; None where that is not allowed."""
        graph, made = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), ctypes.c_int(_THREAD_LOCAL))
        accepted = work()
        ended = self._library.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
        try:
            if not accepted or ended != 0 or not graph.value:
                return None
            code = self._library.cuGraphInstantiateWithFlags(ctypes.byref(made), graph, ctypes.c_uint64(0))
            return int(made.value or 0) if code == 0 else None
        finally:
            if graph.value:  # what can be launched is a copy of it
                self._call("cuGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Put a captured graph into a stream."""
        self._call("cuGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def architecture(self) -> int:
        """Compute capability times ten: 87 for an Orin."""
        found = []
        for attribute in (_MAJOR, _MINOR):
            value = ctypes.c_int()
            self._call("cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), self._device)
            found.append(value.value)
        return 10 * found[0] + found[1]

    def module(self, code: bytes) -> int:
        """Handle of machine code that was loaded."""
        made = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(made), code)
        return int(made.value or 0)

    def function(self, module: int, name: str) -> int:
        """Handle of a kernel of a module."""
        made = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(made), ctypes.c_void_p(module), name.encode())
        return int(made.value or 0)

    def run(self, function: int, grid: Any, block: Any, shared: int, arguments: Any, stream: int) -> None:
        """Put a kernel into a stream: blocks and threads (x, y, z), bytes of shared memory, pointers to arguments."""
        sizes = [ctypes.c_uint(count) for count in (*grid, *block, shared)]
        places = ctypes.c_void_p(stream), arguments, ctypes.c_void_p(0)
        self._call("cuLaunchKernel", ctypes.c_void_p(function), *sizes, *places)

    def free_mb(self) -> float:
        """Free memory of the GPU, in MB. On a Jetson what the operating system has free, swap excluded."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value / 1e6

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            if code == _NO_MEMORY:
                raise OutOfMemory(f"Cuda Runtime (out of memory): {name} gave {code}")
            raise RunnerError(f"Cuda Runtime: {name} gave {code}")
