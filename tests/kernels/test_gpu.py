"""The kernels on a real GPU, compiled by NVRTC: what the emulation cannot show. Skipped without one."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from bevlite.agent.kernels.launching import Kernels, Loaded
from bevlite.agent.python_api.cuda import Cuda, RunnerError
from bevlite.kernels.step import run
from tests.kernels.cases import CASES, hold


def _gpu() -> bool:
    try:
        count = ctypes.c_int()
        library = ctypes.CDLL("libcuda.so.1")
        return bool(library.cuInit(0) == 0 and library.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value)
    except OSError:
        return False


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not _gpu(), reason="no CUDA GPU here")]


@pytest.fixture(scope="module")
def kernels() -> Kernels:
    try:
        return Kernels(Cuda(ctypes.CDLL("libcuda.so.1")))
    except RunnerError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_is_its_reference(kernels: Kernels, name: str) -> None:
    case = CASES[name]
    expected = case.step.reference(case.inputs)
    for _ in range(3):  # whatever order the atomics come in
        hold(run(case.step, case.inputs, kernels), expected, max(case.tolerance, 1e-3) if case.tolerance else 0)


@pytest.mark.parametrize("name", CASES)
def test_a_graph_gives_the_same_again_and_again(kernels: Kernels, name: str) -> None:
    case, cuda = CASES[name], kernels.cuda
    stream = cuda.stream()
    loaded = Loaded(kernels, case.step.plan, {}, stream)
    for key, buffer in case.step.plan.buffers.items():
        if buffer.role == "input":
            array = np.ascontiguousarray(case.inputs[key])
            loaded.write(key, array.ctypes.data, array.nbytes, stream)
            cuda.wait(stream)
    outputs = [key for key, buffer in case.step.plan.buffers.items() if buffer.role == "output"]

    def work() -> bool:
        loaded.enqueue(stream)
        return True

    graph = cuda.capture(stream, work)
    assert graph is not None
    found = []
    for _ in range(20):
        cuda.launch(graph, stream)
        found.append([loaded.read(key, stream) for key in outputs])
    assert all(again == found[0] for again in found)
