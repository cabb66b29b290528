"""Plans through the product's own launching code, on a driver that runs kernels in the CPU emulation."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from bevlite.agent.kernels import nvrtc
from bevlite.agent.kernels.launching import Kernels, Loaded
from bevlite.agent.python_api.cuda import Cuda, RunnerError
from bevlite.kernels.step import kernels_or_none, run
from tests.kernels.cases import CASES, hold
from tests.kernels.driver import Driver
from tests.kernels.emulation import needs_compiler

SMALL = ("queries", "map", "decoding", "pillars, too many")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(nvrtc, "compiled", lambda library, name, architecture: f"{name} {architecture}".encode())
    return Driver()


@needs_compiler
@pytest.mark.parametrize("name", SMALL)
def test_a_step_from_host_memory_and_back(driver: Driver, name: str) -> None:
    case = CASES[name]
    kernels = Kernels(Cuda(driver), compiler=object())
    hold(run(case.step, case.inputs, kernels), case.step.reference(case.inputs), case.tolerance)
    assert driver.loaded == [f"{source} 87".encode() for source in case.step.plan.sources]


@needs_compiler
def test_a_plan_is_captured_and_launched_again(driver: Driver) -> None:
    """Nothing is allocated meanwhile, and a graph run twice gives the same: counters begin anew."""
    case = CASES["pillars, too many"]
    cuda = Cuda(driver)
    stream = cuda.stream()
    loaded = Loaded(Kernels(cuda, compiler=object()), case.step.plan, {}, stream)

    def work() -> bool:
        loaded.enqueue(stream)
        return True

    graph = cuda.capture(stream, work)
    assert graph is not None
    for name, array in case.inputs.items():
        loaded.write(name, array.ctypes.data, array.nbytes, stream)
    for _ in range(2):
        cuda.launch(graph, stream)
    found = np.frombuffer(loaded.read("pillars", stream), np.float32)
    assert np.array_equal(found, case.step.reference(case.inputs)["pillars"].ravel())
    assert len(driver.launched) == 2 * 7  # and three memory sets


@needs_compiler
def test_buffers_of_an_engine_are_used_where_they_lie(driver: Driver) -> None:
    case = CASES["map"]
    cuda = Cuda(driver)
    stream = cuda.stream()
    engine = cuda.allocate(case.step.plan.buffers["map_in"].size)
    loaded = Loaded(Kernels(cuda, compiler=object()), case.step.plan, {"map_in": engine}, stream)
    assert loaded.addresses["map_in"] == engine
    array = case.inputs["map_in"]
    cuda.to_device(engine, array.ctypes.data, array.nbytes, stream)
    loaded.enqueue(stream)
    found = np.frombuffer(loaded.read("map_classes", stream), np.uint8)
    assert np.array_equal(found, case.step.reference(case.inputs)["map_classes"].ravel())
    with pytest.raises(RunnerError, match=r"map_classes: map_in: found 99999 bytes; accepted: at most 14400"):
        loaded.write("map_in", array.ctypes.data, 99999, stream)


def test_without_a_gpu_numpy_does_it_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class NoGpu(Driver):
        def cuInit(self, flags: object) -> int:
            return 100

    with caplog.at_level(logging.WARNING):
        kernels = kernels_or_none(NoGpu(), object())
    assert kernels is None
    assert "no CUDA kernels (Cuda Runtime: cuInit gave 100): the steps around the engines run in numpy" in caplog.text
    case = CASES["queries"]
    hold(run(case.step, case.inputs, kernels), case.step.reference(case.inputs), 0)


def test_inputs_that_do_not_fit_are_one_line() -> None:
    step, inputs = CASES["pillars, pillar"].step, CASES["pillars, pillar"].inputs
    more = np.zeros((4001, 5), np.float32)
    with pytest.raises(
        ValueError, match=r"pillarisation: points: found float32 \(4001, 5\); accepted: float32 \(4000, 5\)"
    ):
        run(step, {**inputs, "points": more}, None)
    with pytest.raises(ValueError, match=r"pillarisation: lags: missing; accepted: float32 \(3,\)"):
        run(step, {name: array for name, array in inputs.items() if name != "lags"}, None)
    with pytest.raises(ValueError, match=r"pillarisation: points: found float64"):
        run(step, {**inputs, "points": inputs["points"].astype(np.float64)}, None)
