"""Stand-ins for libcuda and TensorRT's Python API: host memory as the GPU's, work done when the stream is waited for.

An engine file is JSON: inputs and outputs with type and shape, and the factor that the first input is multiplied by.
"""

from __future__ import annotations

import ctypes
import enum
import json
from collections.abc import Callable
from typing import Any

import numpy as np

KINDS = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32}


class FakeLibcuda:
    """The driver's calls as ctypes makes them. `fails` names a call that gives an error code."""

    def __init__(self, fails: str = "", code: int = 700) -> None:
        self.fails, self.code = fails, code
        self.memory: list[Any] = []
        self.queue: list[Callable[[], object]] = []
        self.allocated = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            if name == self.fails:
                return self.code
            work = type(self).__dict__.get("_" + name)
            if work is not None:
                work(self, *arguments)
            return 0

        return call

    def _cuStreamCreate(self, stream: Any, flags: Any) -> None:
        stream._obj.value = 77

    def _cuMemAlloc_v2(self, address: Any, size: Any) -> None:
        self.memory.append(ctypes.create_string_buffer(size.value))
        self.allocated += size.value
        address._obj.value = ctypes.addressof(self.memory[-1])

    def _cuMemGetInfo_v2(self, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = 10_000_000 - self.allocated, 10_000_000

    def _cuMemcpyHtoDAsync_v2(self, address: Any, data: Any, size: Any, stream: Any) -> None:
        assert stream.value == 77
        source = ctypes.addressof(data)
        self.queue.append(lambda: ctypes.memmove(address.value, source, size.value))

    def _cuMemcpyDtoHAsync_v2(self, data: Any, address: Any, size: Any, stream: Any) -> None:
        target = ctypes.addressof(data)
        self.queue.append(lambda: ctypes.memmove(target, address.value, size.value))

    def _cuStreamSynchronize(self, stream: Any) -> None:
        for work in self.queue:
            work()
        self.queue.clear()


class Context:
    """An execution context: addresses by name."""

    def __init__(self, engine: Engine, library: FakeLibcuda) -> None:
        self.engine, self.library = engine, library
        self.addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == 77 and set(self.addresses) == set(self.engine.names)
        self.library.queue.append(self._work)
        return not self.engine.data.get("refuses")

    def _array(self, name: str) -> np.ndarray:
        kind, shape = (self.engine.data["inputs"] | self.engine.data["outputs"])[name]
        size = int(np.prod(shape)) * np.dtype(KINDS[kind]).itemsize
        raw = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(raw, KINDS[kind]).reshape(shape)

    def _work(self) -> None:
        first = self._array(next(iter(self.engine.data["inputs"])))
        for name in self.engine.data["outputs"]:
            self._array(name)[...] = first * self.engine.data["factor"]


class Engine:
    """An engine by the named tensors."""

    def __init__(self, data: dict[str, Any], library: FakeLibcuda, mode: Any) -> None:
        self.data, self.library, self._mode = data, library, mode
        self.names = [*data["inputs"], *data["outputs"]]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, i: int) -> str:
        return str(self.names[i])

    def get_tensor_mode(self, name: str) -> Any:
        return self._mode.INPUT if name in self.data["inputs"] else self._mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return f"DataType.{(self.data['inputs'] | self.data['outputs'])[name][0]}"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple((self.data["inputs"] | self.data["outputs"])[name][1])

    def create_execution_context(self) -> Context:
        return Context(self, self.library)


class EngineOf11(Engine):
    """TensorRT 11 makes a context by a configuration."""

    def create_runtime_config(self) -> str:
        return "config"

    def create_execution_context(self, config: str = "") -> Context:
        assert config == "config"
        return super().create_execution_context()


def fake_tensorrt(library: FakeLibcuda, major: int = 10) -> Any:
    """The module `tensorrt`, as far as it is used."""

    class TensorIOMode(enum.Enum):
        INPUT, OUTPUT = 1, 2

    class Logger:
        WARNING = 2

        def __init__(self, level: int) -> None:
            assert level == self.WARNING

    class Runtime:
        DLA_core = -1

        def __init__(self, logger: Logger) -> None:
            assert isinstance(logger, Logger)

        def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
            if not plan.startswith(b"{"):
                return None
            made = json.loads(plan)
            assert made.get("dla", -1) == self.DLA_core
            return (EngineOf11 if major >= 11 else Engine)(made, library, TensorIOMode)

    class Module:
        pass

    module: Any = Module()
    module.TensorIOMode, module.Logger, module.Runtime = TensorIOMode, Logger, Runtime
    module.init_libnvinfer_plugins = lambda logger, namespace: isinstance(logger, Logger)
    return module
