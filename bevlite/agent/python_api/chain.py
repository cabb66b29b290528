"""The engines of a network by TensorRT's Python API: loaded once, chained by the names of their tensors.

Written against the named tensors, which are the same from TensorRT 8.5 to 11.
"""

from __future__ import annotations

import ctypes
from typing import Any, Collection, Mapping, NamedTuple, Sequence

from bevlite.agent.python_api.cuda import Cuda, OutOfMemory, RunnerError

DTYPES = {
    "FLOAT": ("float32", 4), "HALF": ("float16", 2), "INT32": ("int32", 4), "INT64": ("int64", 8),
    "INT8": ("int8", 1), "UINT8": ("uint8", 1), "BOOL": ("bool", 1),
}  # fmt: skip
"""numpy's name and bytes of an element by TensorRT's name."""
_loggers: list[Any] = []
"""Kept to the end of the process: the registry of plugins holds a logger without owning it."""


class Tensor(NamedTuple):
    """A tensor between engines: address on the GPU, type, shape, bytes."""

    address: int
    dtype: str
    shape: tuple[int, ...]
    size: int


def libraries() -> tuple[Any, Any]:
    """TensorRT's module and CUDA's driver library, in this order: the former may bring the latter."""
    import tensorrt

    return tensorrt, ctypes.CDLL("libcuda.so.1")


class Network:
    """Engines in their order of execution, loaded into the GPU's memory."""

    def __init__(self, trt: Any, cuda: Cuda, paths: Sequence[str], dla_cores: Sequence[int | None]) -> None:
        """Load the files; `dla_cores` says for each which DLA core it was built for (None: the GPU)."""
        self.cuda = cuda
        self._trt = trt
        self._logger = trt.Logger(trt.Logger.WARNING)
        _loggers.append(self._logger)
        trt.init_libnvinfer_plugins(self._logger, "")
        self._runtimes: list[Any] = []  # a runtime must live as long as its engine
        self.engines = [self._load(path, core) for path, core in zip(paths, dla_cores)]

    def is_input(self, engine: Any, name: str) -> bool:
        """Whether an engine takes a tensor (or gives it)."""
        return bool(engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def is_on_gpu(self, engine: Any, name: str) -> bool:
        """Whether an engine wants a tensor in the GPU's memory (or in the host's, as it does shapes)."""
        return bool(engine.get_tensor_location(name) == self._trt.TensorLocation.DEVICE)

    def _load(self, path: str, dla_core: int | None) -> Any:
        runtime = self._trt.Runtime(self._logger)
        if dla_core is not None:
            runtime.DLA_core = dla_core
        with open(path, "rb") as stream:
            engine = runtime.deserialize_cuda_engine(stream.read())
        if engine is None:
            raise RunnerError("Engine deserialization failed")
        self._runtimes.append(runtime)
        return engine


class Chain:
    """One set of contexts and tensors for one frame at a time: what one engine writes, the next reads where it lies.

    `feeds` names the state: inputs of the network that take an output of the frame before.
    """

    def __init__(self, network: Network, feeds: Mapping[str, str]) -> None:
        self.cuda = network.cuda
        self.stream = self.cuda.stream()
        self.feeds = dict(feeds)
        self.resident: frozenset[str] = frozenset()
        """Inputs that lie on the GPU already: they are copied only where a frame brings them."""
        self.tensors: dict[str, Tensor] = {}
        self.inputs: list[str] = []
        self._configs: list[Any] = []
        self._takers: dict[str, int] = {}
        self._makers: dict[str, int] = {}
        self.contexts = [self._context(network, *numbered) for numbered in enumerate(network.engines)]
        self._require_feeds()
        self._state_before: list[list[tuple[str, int]]] = [[] for _ in self.contexts]  # asked for in every timed frame
        for name, source in self.feeds.items():
            maker = self._makers[source]
            self._state_before[min(self._takers[name], maker)].append((name, maker))

    def enqueue(self, number: int) -> None:
        """Put one engine into the stream."""
        if not self.contexts[number].execute_async_v3(self.stream):
            raise RunnerError(f"engine {number + 1} refused to run")

    def state_before(self, number: int) -> list[tuple[str, int]]:
        """State that has to be in place before an engine is enqueued, and the engine that made it the frame before.

        That is the first engine that takes it, or the one that makes it anew, whichever comes first: what it makes
        is written where the last one lies.
        """
        return self._state_before[number]

    def hand_on(self, number: int, given: Collection[str], before: Chain | None) -> None:
        """Put the state for an engine into the stream: from the tensors of the frame before, or zeros without one.

        What the frame itself gives is left as it is. `before` may be this chain.
        """
        for name, _ in self.state_before(number):
            target = self.tensors[name]
            if name in given:
                continue
            if before is None:
                self.cuda.zero(target.address, target.size, self.stream)
            else:
                source = before.tensors[self.feeds[name]]
                self.cuda.copy(target.address, source.address, target.size, self.stream)

    def run(self, files: dict[str, str], begins: bool = True) -> None:
        """One frame, from the files of the network's inputs to tensors on the GPU; `begins` a new sequence, or goes
        on from the frame before."""
        buffers = []
        for name in self.given(files):
            data = self.read(name, files[name])
            buffers.append(ctypes.create_string_buffer(data, len(data)))
            self.cuda.to_device(self.tensors[name].address, buffers[-1], len(data), self.stream)
        for number in range(len(self.contexts)):
            self.hand_on(number, files, None if begins else self)
            self.enqueue(number)
        self.cuda.wait(self.stream)

    def given(self, frame: Collection[str]) -> list[str]:
        """The inputs that a frame brings: all but the state and what is resident, which it may."""
        return [n for n in self.inputs if n in frame or (n not in self.feeds and n not in self.resident)]

    def read(self, name: str, path: str) -> bytes:
        """The file of an input (raises RunnerError where it does not fit)."""
        with open(path, "rb") as stream:
            data = stream.read()
        size = self.tensors[name].size
        if len(data) != size:
            raise RunnerError(f"input '{name}': found {len(data)} bytes; the engine takes {size}")
        return data

    def fetch(self, name: str) -> bytes:
        """Bytes of a tensor."""
        tensor = self.tensors[name]
        buffer = ctypes.create_string_buffer(tensor.size)
        self.cuda.to_host(buffer, tensor.address, tensor.size, self.stream)
        self.cuda.wait(self.stream)
        return buffer.raw

    def _require_feeds(self) -> None:
        for name, source in self.feeds.items():
            if name not in self.inputs or source not in self._makers:
                raise RunnerError(f"state '{name}' from '{source}': the engines have no such input and output")
            taken, made = self.tensors[name], self.tensors[source]
            if (taken.dtype, taken.shape) != (made.dtype, made.shape):
                kinds = f"{made.dtype} {made.shape}; the engine takes {taken.dtype} {taken.shape}"
                raise RunnerError(f"state '{name}' from '{source}': found {kinds}")

    def _context(self, network: Network, place: int, engine: Any) -> Any:
        context = self._new_context(engine)
        if context is None:
            raise OutOfMemory("no execution context, most often for want of memory")
        for number in range(engine.num_io_tensors):
            name = engine.get_tensor_name(number)
            if not network.is_on_gpu(engine, name):
                raise RunnerError(f"tensor '{name}': the engine wants it in host memory; accepted: the GPU's")
            is_input = network.is_input(engine, name)
            (self._takers if is_input else self._makers).setdefault(name, place)
            tensor = self._tensor(engine, name, is_input)
            if not context.set_tensor_address(name, tensor.address):
                raise RunnerError(f"tensor '{name}': the engine refused its address")
        return context

    def _new_context(self, engine: Any) -> Any:
        try:
            return engine.create_execution_context()
        except TypeError:  # an interface that makes contexts by a configuration only (there is one from 10.11 on)
            self._configs.append(engine.create_runtime_config())  # it must live as long as the context
            return engine.create_execution_context(self._configs[-1])

    def _tensor(self, engine: Any, name: str, is_input: bool) -> Tensor:
        kind = str(engine.get_tensor_dtype(name)).rpartition(".")[2]
        if kind not in DTYPES:
            raise RunnerError(f"tensor '{name}': type {kind} is not known")
        dtype, size = DTYPES[kind]
        shape = tuple(int(n) for n in engine.get_tensor_shape(name))
        if any(n < 0 for n in shape):
            raise RunnerError(f"tensor '{name}': shape {shape} is not fixed")
        for n in shape:
            size *= n
        known = self.tensors.get(name)
        if known is None:
            self.tensors[name] = known = Tensor(self.cuda.allocate(size), dtype, shape, size)
            if is_input:
                self.inputs.append(name)
        elif (known.dtype, known.shape) != (dtype, shape):
            raise RunnerError(f"tensor '{name}': {known.dtype} {known.shape} is not what the next engine takes")
        return known
