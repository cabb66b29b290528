"""Plans on a GPU: kernels compiled once, one arena of memory a plan, launches that a CUDA graph can hold."""

from __future__ import annotations

import ctypes
from typing import Any, Mapping

from bevlite.agent.kernels import nvrtc
from bevlite.agent.kernels.plan import Double, Launch, Plan, Value
from bevlite.agent.python_api.cuda import Cuda, RunnerError


class Kernels:
    """Functions of the kernel files on one GPU, each file compiled when it is first needed."""

    def __init__(self, cuda: Cuda, compiler: Any = None, folder: str = "") -> None:
        """`compiler` is NVRTC's library; by default that of this machine (raises RunnerError without one).

        With a `folder` machine code is kept there, and taken from there the next time.
        """
        self._folder = folder
        self.cuda = cuda
        self._compiler = nvrtc.library() if compiler is None else compiler
        self._architecture = cuda.architecture()
        self._modules: dict[str, int] = {}
        self._functions: dict[tuple[str, str], int] = {}

    def function(self, source: str, name: str) -> int:
        """Handle of a function of a file."""
        if source not in self._modules:
            self._modules[source] = self.cuda.module(self._code(source))
        if (source, name) not in self._functions:
            self._functions[source, name] = self.cuda.function(self._modules[source], name)
        return self._functions[source, name]

    def _code(self, source: str) -> bytes:
        if self._folder:
            return nvrtc.kept(self._compiler, source, self._architecture, self._folder)
        return nvrtc.compiled(self._compiler, source, self._architecture)


class Loaded:
    """A plan ready to run. `addresses` holds where its buffers lie on the GPU, by name."""

    def __init__(self, kernels: Kernels, plan: Plan, given: Mapping[str, int], stream: int) -> None:
        """Buffers that are `given` by address (those of an engine, say) are used where they are; others are made."""
        self.plan = plan
        self._kernels, self._cuda = kernels, kernels.cuda
        places, size = plan.places()
        arena = self._cuda.allocate(size)
        self.addresses = {name: given.get(name, arena + place) for name, place in places.items()}
        self._work = [self._prepared(item) if isinstance(item, Launch) else item for item in plan.work]
        for name, content in plan.constants.items():
            self._cuda.to_device(self.addresses[name], content, len(content), stream)
        self._cuda.wait(stream)

    def write(self, name: str, content: Any, size: int, stream: int) -> None:
        """Copy an input from host memory, which must live and stay until the stream has been waited for."""
        if size > self.plan.buffers[name].size:
            raise RunnerError(
                f"{self.plan.name}: {name}: found {size} bytes; accepted: at most {self.plan.buffers[name].size}"
            )
        self._cuda.to_device(self.addresses[name], content, size, stream)

    def read(self, name: str, stream: int) -> bytes:
        """An output, when the stream has come to it."""
        size = self.plan.buffers[name].size
        content = ctypes.create_string_buffer(max(1, size))
        self._cuda.to_host(content, self.addresses[name], size, stream)
        self._cuda.wait(stream)
        return content.raw[:size]

    def enqueue(self, stream: int) -> None:
        """Put the work of one frame into a stream. Nothing is allocated, and nothing waits for the host."""
        for item in self._work:
            if isinstance(item, tuple) and isinstance(item[0], Launch):
                launch, function, packed = item
                self._cuda.run(function, launch.grid, launch.block, launch.shared, packed.pointers, stream)
            else:
                self._cuda.zero(self.addresses[item.buffer], self.plan.buffers[item.buffer].size, stream)

    def _prepared(self, launch: Launch) -> Any:
        return launch, self._kernels.function(launch.source, launch.function), Packed(launch.arguments, self.addresses)


class Packed:
    """Arguments as a launch takes them: `pointers` to values that live as long as this does."""

    def __init__(self, arguments: tuple[Value, ...], addresses: Mapping[str, int]) -> None:
        self._values = [_packed(value, addresses) for value in arguments]
        self.pointers = (ctypes.c_void_p * len(self._values))(*(ctypes.addressof(value) for value in self._values))


def _packed(value: Value, addresses: Mapping[str, int]) -> Any:
    if isinstance(value, str):
        return ctypes.c_uint64(addresses[value] if value else 0)
    if isinstance(value, Double):
        return ctypes.c_double(value)
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int32(value)
