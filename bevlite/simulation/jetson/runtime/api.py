"""The module `tensorrt` as far as engines are loaded and run: by the named tensors, 8.5 to 11."""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from bevlite.simulation.jetson.runtime.driver import Driver
from bevlite.simulation.jetson.runtime.engine import DTYPES, Engine, TensorInfo

TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
TensorLocation = enum.Enum("TensorLocation", ["DEVICE", "HOST"])
DataType = enum.Enum("DataType", list(DTYPES))  # type: ignore[misc]
Load = Callable[[bytes, int], Engine | None]
"""From the bytes of a plan and the DLA core (-1: none) to an engine; None after it has said why."""


class Logger:
    """Levels alone: warnings and errors go to standard output whatever the level."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self, min_severity: int = WARNING) -> None:
        self.min_severity = min_severity


class ExecutionContext:
    """One set of activations of an engine."""

    def __init__(self, engine: Engine, driver: Driver) -> None:
        self._engine, self._driver = engine, driver
        self._addresses: dict[str, int] = {}
        self._runs = 0
        driver.used += engine.context_bytes

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if set(self._addresses) != {tensor.name for tensor in self._engine.tensors}:
            return False
        self._runs += 1
        return self._driver.enqueue(stream_handle, self._engine, dict(self._addresses), self._runs == 1)


class CudaEngine:
    """A deserialised engine."""

    def __init__(self, engine: Engine, driver: Driver) -> None:
        self._engine, self._driver = engine, driver
        self._tensors: dict[str, TensorInfo] = {tensor.name: tensor for tensor in engine.tensors}
        driver.used += engine.size_bytes

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return TensorIOMode["INPUT" if self._tensors[name].is_input else "OUTPUT"]

    def get_tensor_dtype(self, name: str) -> Any:
        return DataType[self._tensors[name].kind]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._tensors[name].shape

    def get_tensor_location(self, name: str) -> Any:
        return TensorLocation.DEVICE

    def create_execution_context(self) -> ExecutionContext:
        return ExecutionContext(self._engine, self._driver)


class ConfigurableEngine(CudaEngine):
    """From TensorRT 10.11 on a context can be made by a configuration as well."""

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(engine=self)

    def create_execution_context(self, runtime_config: Any = None) -> ExecutionContext:
        if runtime_config is not None and getattr(runtime_config, "engine", None) is not self:
            raise TypeError("create_execution_context(): incompatible function arguments")
        return super().create_execution_context()


def api(driver: Driver, load: Load, version: str) -> dict[str, Any]:
    """The names of the module."""
    made = ConfigurableEngine if tuple(map(int, version.split(".")[:2])) >= (10, 11) else CudaEngine

    class Runtime:
        """Loads engines."""

        def __init__(self, logger: Logger) -> None:
            self.logger = logger
            self.DLA_core = -1

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngine | None:
            engine = load(serialized_engine, self.DLA_core)
            return None if engine is None else made(engine, driver)

    def init_libnvinfer_plugins(logger: Logger, namespace: str) -> bool:
        return isinstance(logger, Logger)

    return {
        "__version__": version,
        "DataType": DataType,
        "Logger": Logger,
        "Runtime": Runtime,
        "TensorIOMode": TensorIOMode,
        "TensorLocation": TensorLocation,
        "init_libnvinfer_plugins": init_libnvinfer_plugins,
    }
