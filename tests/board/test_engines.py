"""How the agent starts the runner: a Python with stand-ins for TensorRT and CUDA takes the place of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.board import engine_runner, engines
from bevlite.board.build import Engine
from bevlite.board.fault import Fault
from bevlite.devices.program import RECEIVE, agent_program
from tests.board.test_engine_runner import FIRST, SECOND, order

ROOT = Path(__file__).parents[2]
PYTHON = """#!{python}
import ctypes, sys
sys.path.insert(0, {root!r})
from tests.board.fake_gpu import FakeLibcuda, fake_tensorrt
library = FakeLibcuda()
module = fake_tensorrt(library)
module.__version__ = "10.3.0.26"
sys.modules["tensorrt"] = module
ctypes.CDLL = lambda name: library if name == "libcuda.so.1" else None
assert sys.argv[1:3] == ["-I", "-c"]
source, sys.argv = sys.argv[3], ["-c", *sys.argv[4:]]
exec(compile(source, "<runner>", "exec"), {{"__name__": "__main__"}})
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python3"
    program.write_text(PYTHON.format(python=sys.executable, root=str(ROOT)))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    engines._no_python_api.cache_clear()


def by_python(folder: Path, made: list[Any]) -> Any:
    content = order(folder, made)
    built = [Engine(str(n), path, {}, []) for n, path in enumerate(content["engines"])]
    request = {"modules": [{"build": {}}] * len(built), "keep": content["keep"]}
    return engines._by_python(request, built, content["frames"], str(folder), 30.0)


def test_frames_go_through_the_runner(tmp_path: Path, python: None) -> None:
    (frame,), memory_mb = by_python(tmp_path, [FIRST, SECOND])
    assert np.array_equal(np.fromfile(frame["y"].path, frame["y"].dtype), 20 * np.arange(6)) and memory_mb > 0


def test_a_failure_of_the_runner_has_its_code(tmp_path: Path, python: None) -> None:
    with pytest.raises(Fault, match="cannot be loaded") as caught:
        by_python(tmp_path, ["no plan"])
    assert caught.value.code == "engine_unreadable"
    with pytest.raises(Fault, match="engine runner: engine 1 refused") as caught:
        by_python(tmp_path, [FIRST | {"refuses": True}, SECOND])
    assert caught.value.code == "trtexec_failed"


def test_the_python_api_must_be_there_and_of_the_same_version(python: None) -> None:
    assert engines._no_python_api(False, "10.3.0") is None
    assert "10.3.0.26, trtexec 10.7.0" in str(engines._no_python_api(False, "10.7.0"))
    assert "emulated" in str(engines._no_python_api(True, "10.3.0"))


def test_without_the_package_trtexec_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_runner, "VERSION", "import a_package_that_is_not_there")
    engines._no_python_api.cache_clear()
    assert "python3-libnvinfer" in str(engines._no_python_api(False, "10.3.0"))


def test_the_agent_knows_its_own_source(tmp_path: Path) -> None:
    """On a board it lies on no disk."""
    text = agent_program().split(b"\n", 1)[1].decode()
    start = "from bevlite.board.agent import main\nmain()"
    assert start in text
    ask = "from bevlite.board.engines import _source\nprint(_source('bevlite.board.paths'))"
    program = text.replace(start, ask).encode()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RECEIVE],
        input=f"{len(program)}\n".encode() + program,
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.stdout.decode().strip() == (ROOT / "bevlite/board/paths.py").read_text().strip(), done.stderr
    assert engines._source("bevlite.board.paths") == (ROOT / "bevlite/board/paths.py").read_text()
