"""How the agent starts programs that use TensorRT: a Python with the emulated libraries takes the place of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.agent.fault import Fault
from bevlite.agent.jobs import infer
from bevlite.agent.jobs.build import Engine
from bevlite.agent.python_api import runner
from bevlite.devices.link.program import RECEIVE, agent_program
from tests.agent.python_api.gpu import FIRST, SECOND
from tests.agent.python_api.test_engine_runner import order

ROOT = Path(__file__).parents[3]
PYTHON = """#!{python}
import ctypes, sys
sys.path.insert(0, {root!r})
from tests.agent.python_api.gpu import Gpu
gpu = Gpu()
sys.modules["tensorrt"] = gpu.tensorrt()
ctypes.CDLL = lambda name: gpu if name == "libcuda.so.1" else None
assert sys.argv[1:3] == ["-I", "-c"]
source, sys.argv = sys.argv[3], ["-c", *sys.argv[4:]]
for name in [name for name in sys.modules if name.split(".")[0] == "bevlite"]:
    del sys.modules[name]  # the program brings the agent's modules itself
exec(compile(source, "<runner>", "exec"), {{"__name__": "__main__"}})
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python3"
    program.write_text(PYTHON.format(python=sys.executable, root=str(ROOT)))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    runner.why_not.cache_clear()


def by_python(folder: Path, made: list[Any]) -> Any:
    content = order(folder, made)
    built = [Engine(str(n), path, {}, []) for n, path in enumerate(content["engines"])]
    request = {"modules": [{"build": {}}] * len(built), "keep": content["keep"], "feeds": {}, "starts": []}
    return infer._by_python(request, built, content["frames"], str(folder), 30.0)


def test_frames_go_through_the_runner(tmp_path: Path, python: None) -> None:
    (frame,), memory_mb = by_python(tmp_path, [FIRST, SECOND])
    assert np.array_equal(np.fromfile(frame["y"].path, frame["y"].dtype), 20 * np.arange(6)) and memory_mb > 0
    written = sorted(path.name for path in (tmp_path / "source").rglob("*.py"))
    assert "chain.py" in written and "agent.py" not in written


def test_a_failure_of_the_runner_has_its_code(tmp_path: Path, python: None) -> None:
    with pytest.raises(Fault, match="cannot be loaded") as caught:
        by_python(tmp_path, ["no plan"])
    assert caught.value.code == "engine_unreadable"
    with pytest.raises(Fault, match=r"engine_runner .* tensor 'map'") as caught:
        by_python(tmp_path, [FIRST, SECOND | {"inputs": {"map": ["FLOAT", [2, 3]]}}])
    assert caught.value.code == "trtexec_failed"


def test_the_python_api_must_be_there_and_of_the_same_version(python: None) -> None:
    assert runner.why_not("10.3.0") is None
    assert "10.3.0.30, trtexec 10.7.0" in str(runner.why_not("10.7.0"))


def test_without_the_package_it_says_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "VERSION", "import a_package_that_is_not_there")
    runner.why_not.cache_clear()
    found = str(runner.why_not("10.3.0"))
    assert "sudo apt install python3-libnvinfer" in found and "No module named 'a_package_that_is_not_there'" in found


def test_the_error_of_tensorrt_is_told_and_not_what_follows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "[11/21/2026-10:00:00] [TRT] [E] IRuntime: Error Code 1: the cause"
    monkeypatch.setattr(runner, "_START", f"print({said!r}); print('engine 1 refused to run'); raise SystemExit(1)")
    with pytest.raises(Fault, match=r"engine_runner.*: the cause$"):
        runner.start("engine_runner", {}, str(tmp_path), 30.0, "run")
    monkeypatch.setattr(runner, "_START", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(Fault, match=r"^engine_runner was killed \(SIGKILL\)") as caught:
        runner.start("engine_runner", {}, str(tmp_path), 30.0, "run")
    assert caught.value.code == "killed"


def test_the_command_that_was_run_is_told_without_the_working_folder(tmp_path: Path, python: None) -> None:
    done = runner.start("engine_runner", order(tmp_path, [FIRST, SECOND]), str(tmp_path), 30.0, "run")
    assert done.command == ["python3", "-I", "-c", runner._START, "source", "engine_runner", "order.json"]


def test_the_agent_knows_its_own_source(tmp_path: Path) -> None:
    """On a board it lies on no disk."""
    text = agent_program().split(b"\n", 1)[1].decode()
    start = "from bevlite.agent.main import main\nmain()"
    assert start in text
    ask = "from bevlite.agent.python_api.runner import source\nprint(source('bevlite.agent.system.paths'))"
    program = text.replace(start, ask).encode()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RECEIVE],
        input=f"{len(program)}\n".encode() + program,
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.stdout.decode().strip() == (ROOT / "bevlite/agent/system/paths.py").read_text().strip(), done.stderr
    assert runner.source("bevlite.agent.system.paths") == (ROOT / "bevlite/agent/system/paths.py").read_text()


def test_every_file_that_a_program_imports_is_sent() -> None:
    """The programs import each other; what is not in the list would be missing on the board."""
    import ast

    for name in runner._MODULES:
        for node in ast.walk(ast.parse(runner.source(name))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bevlite.agent"):
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                wanted = {module for module in inside if (ROOT / f"{module.replace('.', '/')}.py").is_file()}
                wanted = wanted or {node.module}
                assert wanted <= set(runner._MODULES), (name, wanted)
