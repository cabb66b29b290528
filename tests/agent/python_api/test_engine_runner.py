"""The runner of engines against the emulated TensorRT and CUDA: it has never run on a board."""

from __future__ import annotations

import ctypes
import gc
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.agent.python_api import chain
from bevlite.agent.python_api.cuda import Cuda, RunnerError
from bevlite.agent.python_api.engine_runner import run
from bevlite.simulation.jetson.runtime import api
from tests.agent.python_api.gpu import FIRST, SECOND, TOTAL, Gpu


def order(folder: Path, engines: list[Any], frames: int = 1, **changes: Any) -> dict[str, Any]:
    paths = []
    for number, engine in enumerate(engines):
        paths.append(str(folder / f"{number}.plan"))
        Path(paths[-1]).write_text(engine if isinstance(engine, str) else json.dumps(engine))
    listed = []
    for number in range(frames):
        x, t = folder / f"x{number}", folder / f"t{number}"
        x.write_bytes((np.arange(6, dtype=np.float32) + number).tobytes())
        t.write_bytes(np.zeros(4, np.int32).tobytes())
        listed.append({"x": str(x), "t": str(t)})
    base = {"engines": paths, "dla_cores": [None] * len(paths), "frames": listed, "keep": ["y", "map"]}
    return base | {"folder": str(folder), "feeds": {}, "starts": []} | changes


@pytest.mark.parametrize("version", ["8.5.2.2", "10.3.0.30", "11.4.1.0"])
def test_engines_are_chained_on_the_device(tmp_path: Path, version: str) -> None:
    gpu = Gpu()
    answer = run(order(tmp_path, [FIRST, SECOND], frames=3), gpu.tensorrt(version), gpu)
    for number, frame in enumerate(answer["frames"]):
        y = np.fromfile(frame["y"]["path"], frame["y"]["dtype"]).reshape(frame["y"]["shape"])
        assert np.array_equal(y, 20 * (np.arange(6).reshape(2, 3) + number))
        assert frame["map"]["dtype"] == "float16" and frame["map"]["shape"] == (2, 3)
    # x, map, t, y once each, whatever the number of frames: what one engine writes, the next reads where it lies.
    assert gpu.memory.allocated == 24 + 12 + 16 + 24 and answer["memory_mb"] == pytest.approx(76e-6)


def test_a_dla_core_is_set_before_the_engine_is_loaded(tmp_path: Path) -> None:
    gpu = Gpu()
    run(order(tmp_path, [FIRST | {"dla": 1}, SECOND], dla_cores=[1, None]), gpu.tensorrt(), gpu)


@pytest.mark.parametrize(
    ("engines", "gpu", "message"),
    [
        (["no plan"], Gpu(), "deserialization failed"),
        ([FIRST, SECOND | {"inputs": {"map": ["FLOAT", [2, 3]]}}], Gpu(), "'map'"),
        ([FIRST | {"inputs": {"x": ["FLOAT", [2, 4]]}}, SECOND], Gpu(), "found 24 bytes; the engine takes 32"),
        ([FIRST, SECOND], Gpu("cuStreamSynchronize"), "cuStreamSynchronize gave 700"),
        ([FIRST, SECOND], Gpu("cuMemAlloc_v2", 2), "out of memory"),
        ([FIRST | {"size": TOTAL}, SECOND], Gpu(), "out of memory"),
    ],
)
def test_every_failure_is_one_line(tmp_path: Path, engines: list[Any], gpu: Gpu, message: str) -> None:
    with pytest.raises(RunnerError, match=message) as caught:
        run(order(tmp_path, engines), gpu.tensorrt(), gpu)
    assert "\n" not in str(caught.value)


def test_a_type_that_is_not_known_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu()
    monkeypatch.delitem(chain.DTYPES, "HALF")
    with pytest.raises(RunnerError, match="tensor 'map': type HALF is not known"):
        run(order(tmp_path, [FIRST, SECOND]), gpu.tensorrt(), gpu)


def test_the_logger_outlives_the_engines(tmp_path: Path) -> None:
    """The registry of plugins does not own it, and speaks to it when the process ends."""
    gpu, loggers = Gpu(), []
    trt = gpu.tensorrt()
    trt.init_libnvinfer_plugins = lambda logger, namespace: loggers.append(weakref.ref(logger))
    run(order(tmp_path, [FIRST, SECOND]), trt, gpu)
    gc.collect()
    assert [logger() is not None for logger in loggers] == [True]


def test_an_engine_that_refuses_is_named(tmp_path: Path) -> None:
    gpu = Gpu()
    gpu.enqueue = lambda *arguments: False  # type: ignore[method-assign]
    with pytest.raises(RunnerError, match="engine 1 refused"):
        run(order(tmp_path, [FIRST, SECOND]), gpu.tensorrt(), gpu)


def test_a_configuration_is_used_where_a_context_needs_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It must outlive its making: the context works with it."""

    class Config:
        pass

    configs: list[weakref.ref[Config]] = []
    made = api.CudaEngine.create_execution_context

    def create(self: api.CudaEngine, runtime_config: Config | None = None) -> Any:
        if runtime_config is None:
            raise TypeError("create_execution_context(): incompatible function arguments")
        configs.append(weakref.ref(runtime_config))
        return made(self)

    monkeypatch.setattr(api.ConfigurableEngine, "create_execution_context", create)
    monkeypatch.setattr(api.ConfigurableEngine, "create_runtime_config", lambda self: Config())
    gpu = Gpu()
    content = order(tmp_path, [FIRST, SECOND])
    network = chain.Network(gpu.tensorrt("11.4.1.0"), Cuda(gpu), content["engines"], content["dla_cores"])
    whole = chain.Chain(network, {})
    whole.run(content["frames"][0])
    assert len(configs) == 2 and all(config() is not None for config in configs)


@pytest.mark.parametrize("version", ["10.10.0.31", "10.11.0.33", "11.1.0.106"])
def test_from_10_11_on_a_configuration_is_allowed_and_never_needed(tmp_path: Path, version: str) -> None:
    gpu = Gpu()
    (path,) = order(tmp_path, [FIRST])["engines"]
    trt = gpu.tensorrt(version)
    engine = trt.Runtime(trt.Logger()).deserialize_cuda_engine(Path(path).read_bytes())
    assert engine.create_execution_context() is not None
    assert hasattr(engine, "create_runtime_config") == (version != "10.10.0.31")


@pytest.mark.parametrize(
    ("method", "answer", "message"),
    [
        ("set_tensor_address", False, "tensor 'x': the engine refused its address"),
        ("get_tensor_shape", (-1, 3), r"tensor 'x': shape \(-1, 3\) is not fixed"),
        ("get_tensor_location", api.TensorLocation.HOST, "tensor 'x': the engine wants it in host memory"),
    ],
)
def test_a_tensor_that_cannot_be_bound_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, answer: Any, message: str
) -> None:
    place = api.ExecutionContext if method == "set_tensor_address" else api.CudaEngine
    monkeypatch.setattr(place, method, lambda *arguments: answer)
    gpu = Gpu()
    with pytest.raises(RunnerError, match=message):
        run(order(tmp_path, [FIRST, SECOND]), gpu.tensorrt(), gpu)


def test_the_emulated_gpu_moves_nothing_before_the_stream_is_waited_for() -> None:
    """Else the tests above would not see a buffer that is read too early."""
    gpu, address = Gpu(), ctypes.c_uint64()
    data, back = ctypes.create_string_buffer(b"ab", 2), ctypes.create_string_buffer(2)
    gpu.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(2))
    gpu.cuMemcpyHtoDAsync_v2(address, data, ctypes.c_size_t(2), ctypes.c_void_p(77))
    gpu.cuMemcpyDtoHAsync_v2(back, address, ctypes.c_size_t(2), ctypes.c_void_p(77))
    assert back.raw == b"\0\0"
    gpu.cuStreamSynchronize(ctypes.c_void_p(77))
    assert back.raw == b"ab"
