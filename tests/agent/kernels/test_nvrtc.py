"""The real compiler, where torch or CUDA brought it: no GPU is needed to compile for an Orin."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from bevlite.agent.kernels import nvrtc, sources
from bevlite.agent.python_api.cuda import RunnerError


@pytest.fixture(scope="module")
def compiler() -> Any:
    try:
        return nvrtc.library()
    except RunnerError as error:
        pytest.skip(str(error))


H100 = [pytest.param(name, 90, marks=pytest.mark.slow) for name in sources.KERNELS]


@pytest.mark.parametrize(("name", "architecture"), [*((name, 87) for name in sources.KERNELS), *H100])
def test_every_kernel_is_taken_for_an_orin_and_an_h100(compiler: Any, name: str, architecture: int) -> None:
    code = nvrtc.compiled(compiler, name, architecture)
    assert code[:4] == b"\x7fELF"
    functions = [line.split("(")[0].split()[-1] for line in sources.text(f"{name}.cu").split('extern "C"')[1:]]
    assert functions and all(function.encode() in code for function in functions)


def test_a_complaint_is_one_line_with_its_place(compiler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = sources.text
    broken = 'extern "C" __global__ void f(int* a) {\n    a[0] = nothing;\n}\n'
    monkeypatch.setattr(sources, "text", lambda name: broken if name == "queries.cu" else right(name))
    with pytest.raises(
        RunnerError, match=r'^NVRTC: queries.cu for sm_87: queries.cu\(2\): error: .*"nothing".*$'
    ) as told:
        nvrtc.compiled(compiler, "queries", 87)
    assert "\n" not in str(told.value)
    with pytest.raises(RunnerError, match=r"sm_1: .*invalid"):
        nvrtc.compiled(compiler, "classes", 1)


def test_code_is_kept_and_made_anew_when_it_is_damaged(
    compiler: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = str(tmp_path / "kernels")
    code = nvrtc.kept(compiler, "classes", 87, folder)
    (kept,) = (tmp_path / "kernels").iterdir()
    monkeypatch.setattr(nvrtc, "compiled", lambda library, name, architecture: b"anew")
    assert nvrtc.kept(compiler, "classes", 87, folder) == code and code[:4] == b"\x7fELF"
    assert nvrtc.kept(compiler, "classes", 90, folder) == b"anew"
    kept.write_bytes(kept.read_bytes()[:-1])
    assert nvrtc.kept(compiler, "classes", 87, folder) == b"anew"
    assert nvrtc.kept(compiler, "queries", 87, "/dev/null/nowhere") == b"anew"
    assert not list(tmp_path.rglob("*.cubin.*"))


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, mode: int = 0) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(RunnerError, match=r"NVRTC: none of libnvrtc\.so.* can be loaded \(sudo apt install"):
        nvrtc.library()
