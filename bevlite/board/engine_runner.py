"""Runs engines through TensorRT's Python API, with CUDA by ctypes: a program of its own, started by the agent.

The only file of the agent that needs more than the standard library. Written against the named tensors, which are the
same from TensorRT 8.5 to 11, and against CUDA's driver library, which is on every board under one name.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any, NamedTuple

VERSION = "import ctypes, tensorrt; ctypes.CDLL('libcuda.so.1'); print(tensorrt.__version__)"
"""Program that prints the version, and fails where there is no Python API or no driver."""
DTYPES = {
    "FLOAT": ("float32", 4), "HALF": ("float16", 2), "INT32": ("int32", 4), "INT64": ("int64", 8),
    "INT8": ("int8", 1), "UINT8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip
"""numpy's name and bytes of an element by TensorRT's name."""


class RunnerError(Exception):
    """An engine cannot be run; the message is one line."""


class Tensor(NamedTuple):
    """A tensor between engines: address on the GPU, type, shape, bytes."""

    address: int
    dtype: str
    shape: tuple[int, ...]
    size: int


class Cuda:
    """The few calls of the driver that are needed. `library` is libcuda."""

    def __init__(self, library: Any) -> None:
        self._library = library
        device, context, stream = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuInit", ctypes.c_uint(0))
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        # The primary context is the one that TensorRT, through CUDA's runtime, works in as well.
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self._call("cuCtxSetCurrent", context)
        self._call("cuStreamCreate", ctypes.byref(stream), ctypes.c_uint(0))
        self._stream = stream

    @property
    def stream(self) -> int:
        """Handle of the one stream that everything runs in."""
        return int(self._stream.value or 0)

    def allocate(self, size: int) -> int:
        """Memory on the GPU; freed when the process ends."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(1, size)))
        return int(address.value)

    def to_device(self, address: int, data: Any, size: int) -> None:
        """Copy from a host buffer, which must live until `wait`."""
        self._call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), data, ctypes.c_size_t(size), self._stream)

    def to_host(self, data: Any, address: int, size: int) -> None:
        """Copy to a host buffer, which is filled after `wait`."""
        self._call("cuMemcpyDtoHAsync_v2", data, ctypes.c_uint64(address), ctypes.c_size_t(size), self._stream)

    def wait(self) -> None:
        """Until the stream is empty."""
        self._call("cuStreamSynchronize", self._stream)

    def free_mb(self) -> float:
        """Free memory of the GPU (of the whole board on a Jetson), in MB."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value / 1e6

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            hint = " (out of memory)" if code == 2 else ""
            raise RunnerError(f"Cuda Runtime{hint}: {name} gave {code}")


class Chain:
    """Engines that share their tensors by name: what one writes, the next reads where it lies."""

    def __init__(self, trt: Any, cuda: Cuda, engines: list[str], dla_cores: list[int | None]) -> None:
        self._cuda = cuda
        self._logger = trt.Logger(trt.Logger.WARNING)
        trt.init_libnvinfer_plugins(self._logger, "")
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []
        self._kept: list[Any] = []  # an engine must live as long as its context, a runtime as long as its engine
        self._contexts = [self._load(trt, path, core) for path, core in zip(engines, dla_cores)]

    def run(self, files: dict[str, str]) -> None:
        """One frame, from the files of the network's inputs to tensors on the GPU."""
        buffers = []
        for name in self.inputs:
            with open(files[name], "rb") as stream:
                data = stream.read()
            tensor = self.tensors[name]
            if len(data) != tensor.size:
                raise RunnerError(f"input '{name}': found {len(data)} bytes; the engine takes {tensor.size}")
            buffers.append(ctypes.create_string_buffer(data, len(data)))
            self._cuda.to_device(tensor.address, buffers[-1], tensor.size)
        for number, context in enumerate(self._contexts):
            if not context.execute_async_v3(self._cuda.stream):
                raise RunnerError(f"engine {number + 1} refused to run")
        self._cuda.wait()

    def fetch(self, name: str) -> bytes:
        """Bytes of a tensor."""
        tensor = self.tensors[name]
        buffer = ctypes.create_string_buffer(tensor.size)
        self._cuda.to_host(buffer, tensor.address, tensor.size)
        self._cuda.wait()
        return buffer.raw

    def _load(self, trt: Any, path: str, dla_core: int | None) -> Any:
        runtime = trt.Runtime(self._logger)
        if dla_core is not None:
            runtime.DLA_core = dla_core
        with open(path, "rb") as stream:
            engine = runtime.deserialize_cuda_engine(stream.read())
        if engine is None:
            raise RunnerError("Engine deserialization failed")
        # TensorRT 11 makes contexts by a configuration only.
        has_config = hasattr(engine, "create_runtime_config")
        context = (
            engine.create_execution_context(engine.create_runtime_config())
            if has_config
            else engine.create_execution_context()
        )
        if context is None:
            raise RunnerError("no execution context, most often for want of memory")
        self._kept += [runtime, engine]
        for number in range(engine.num_io_tensors):
            name = engine.get_tensor_name(number)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            context.set_tensor_address(name, self._tensor(engine, name, is_input).address)
        return context

    def _tensor(self, engine: Any, name: str, is_input: bool) -> Tensor:
        kind = str(engine.get_tensor_dtype(name)).rpartition(".")[2]
        if kind not in DTYPES:
            raise RunnerError(f"tensor '{name}': type {kind} is not known")
        dtype, size = DTYPES[kind]
        shape = tuple(int(n) for n in engine.get_tensor_shape(name))
        for n in shape:
            size *= n
        known = self.tensors.get(name)
        if known is None:
            self.tensors[name] = known = Tensor(self._cuda.allocate(size), dtype, shape, size)
            if is_input:
                self.inputs.append(name)
        elif (known.dtype, known.shape) != (dtype, shape):
            raise RunnerError(f"tensor '{name}': {known.dtype} {known.shape} is not what the next engine takes")
        return known


def run(order: dict[str, Any], trt: Any, library: Any) -> dict[str, Any]:
    """Run all frames of an order; the tensors to keep lie as files in its folder (raises RunnerError)."""
    cuda = Cuda(library)
    before = cuda.free_mb()
    chain = Chain(trt, cuda, order["engines"], order["dla_cores"])
    least = cuda.free_mb()
    frames = []
    for number, files in enumerate(order["frames"]):
        chain.run(files)
        least = min(least, cuda.free_mb())
        kept = {}
        for place, name in enumerate(order["keep"]):
            path = os.path.join(order["folder"], f"{number}-{place}.raw")
            with open(path, "wb") as stream:
                stream.write(chain.fetch(name))
            kept[name] = {"path": path, "dtype": chain.tensors[name].dtype, "shape": chain.tensors[name].shape}
        frames.append(kept)
    return {"frames": frames, "memory_mb": max(0.0, before - least)}


def main() -> None:
    """Do the order in the file of the first argument."""
    import tensorrt

    with open(sys.argv[1]) as stream:
        order = json.load(stream)
    try:
        answer = run(order, tensorrt, ctypes.CDLL("libcuda.so.1"))
    except RunnerError as error:
        print(error, flush=True)
        os._exit(1)  # destructors of engines after a failure would hide the cause
    with open(order["result"], "w") as stream:
        json.dump(answer, stream)


if __name__ == "__main__":
    main()
