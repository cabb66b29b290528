"""The kernel of LSS pooling against float64, point by point: in Triton's interpreter, and on a GPU if there is one."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys

import pytest
import torch

from bevlite.models.kernels import lss_pooling
from tests.models.lss_kernel_checks import CASES, FP32, case, check_all, errors

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
FULL = {"small": (1, 6, 59, 16, 44, 64, 128 * 128), "large": (1, 6, 118, 32, 88, 80, 360 * 360)}


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@needs_triton
def test_kernel_in_the_interpreter() -> None:
    done = python("-m", "tests.models.lss_kernel_checks", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(CASES) + 2


def test_torch_alike() -> None:
    assert len(list(check_all("torch", "cpu"))) == len(CASES)


def test_gradients_of_float64_are_torch_s() -> None:
    given = case("columns", (2, 1, 3, 4, 2, 3, 5), (torch.float64, torch.float64))
    inputs = [tensor.requires_grad_() for tensor in given[:2]]
    assert torch.autograd.gradcheck(lambda d, c: lss_pooling.pool(d, c, *given[2:]), inputs)


def test_neither_is_needed_before_it_is_used() -> None:
    hidden = "import sys; sys.modules['triton'] = None; import bevlite; import bevlite.models.view_transforms.lss"
    done = python("-c", hidden)
    assert done.returncode == 0, done.stderr


def test_what_runs_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    lss_pooling._kernel_on.cache_clear()
    with caplog.at_level(logging.INFO, lss_pooling.__name__):
        for _ in range(2):
            assert lss_pooling.kernel_for(torch.device("cuda", 0), FP32) == "torch"
            assert lss_pooling.kernel_for(torch.device("cpu"), FP32) == "torch"
    lss_pooling._kernel_on.cache_clear()
    gpu, cpu = caplog.records
    assert gpu.levelname == "WARNING" and "not the Triton kernel: triton cannot be imported" in gpu.message
    assert cpu.levelname == "INFO" and "plain torch on the CPU" in cpu.message


def test_a_kernel_that_errs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    right = lss_pooling.pool
    for wrong, said in ((lambda x: x + 1e-3, "differ"), (lambda x: 1 / 0, "ZeroDivisionError: division by zero")):
        monkeypatch.setattr(
            lss_pooling, "pool", lambda d, c, k, n, kernel, wrong=wrong: wrong(right(d, c, k, n, "torch"))
            if kernel == "triton" else right(d, c, k, n, "torch"),
        )  # fmt: skip
        assert said in lss_pooling._problem(torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
class TestOnAGPU:
    def test_it_is_chosen(self) -> None:
        assert lss_pooling.kernel_for(torch.device("cuda", torch.cuda.current_device()), FP32) == "triton"

    def test_small_cases(self) -> None:
        assert len(list(check_all("triton", "cuda"))) == len(CASES)

    @pytest.mark.parametrize("size", FULL)
    @pytest.mark.parametrize("dtypes", [(FP32, FP32), (FP32, torch.bfloat16), (torch.float16, torch.float16)])
    def test_full_sizes(self, size: str, dtypes: tuple[torch.dtype, torch.dtype]) -> None:
        off = errors(case("columns", FULL[size], dtypes, "cuda"), "triton")
        assert off[0] < 1e-6 and max(off[1:]) < 6e-3

    def test_in_a_graph(self) -> None:
        given = case("columns", FULL["small"], (FP32, FP32), "cuda")
        lss_pooling.pool(*given, "triton")
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            captured = lss_pooling.pool(*given, "triton")
        given.depth.mul_(2)
        graph.replay()
        torch.testing.assert_close(captured, lss_pooling.pool(*given, "torch"), rtol=1e-4, atol=1e-4)
