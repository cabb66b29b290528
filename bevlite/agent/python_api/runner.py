"""Starts programs that use TensorRT's Python API, each in a process of its own: an error of CUDA ends a process."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import sys
from typing import Any, Callable, NamedTuple

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.trtexec import commands, log

NAME = "tensorrt python"
VERSION = "import ctypes, tensorrt; ctypes.CDLL('libcuda.so.1'); print(tensorrt.__version__)"
"""Program that prints the version, and fails where there is no Python API or no driver."""
FIX = "sudo apt install python3-libnvinfer"
_START = "import sys; sys.path.insert(0, sys.argv[1]); from bevlite.agent.python_api.runner_main import main; main()"
_MODULES = (
    "bevlite.agent", "bevlite.agent.protocol", "bevlite.agent.protocol.flights", "bevlite.agent.protocol.protocol",
    "bevlite.agent.protocol.queries", "bevlite.agent.protocol.statistics", "bevlite.agent.python_api",
    "bevlite.agent.python_api.chain", "bevlite.agent.python_api.cuda", "bevlite.agent.python_api.engine_runner",
    "bevlite.agent.python_api.frame_timer", "bevlite.agent.python_api.runner_main",
)  # fmt: skip
"""What the programs are made of; a test holds it against their imports."""
_QUERY_LIMIT_S = 60.0


class Done(NamedTuple):
    """What a program answered, and the command that started it, as it stands in a report."""

    answer: dict[str, Any]
    command: list[str]


@functools.lru_cache(maxsize=None)
def why_not(tensorrt: str) -> str | None:
    """Why the Python API of this TensorRT cannot be used here, or None; asked once, because it takes a second."""
    done = process.run([sys.executable, "-I", "-c", VERSION], _QUERY_LIMIT_S, "run")
    if done.code != 0:
        last = (done.text.strip().splitlines() or [f"code {done.code}"])[-1]
        return f"its Python cannot load tensorrt or libcuda: {last} ({FIX})"
    version = done.text.strip().splitlines()[-1]
    if not version.startswith(tensorrt):
        return f"tensorrt of its Python is {version}, trtexec {tensorrt}"
    return None


def start(
    program: str,
    order: dict[str, Any],
    folder: str,
    limit_s: float,
    phase: str,
    on_line: Callable[[str], None] | None = None,
) -> Done:
    """Let a program do an order, in a working folder that the caller throws away.

    Raises:
        Fault: it failed, or took longer than `limit_s`.
    """
    sources = _write_sources(folder)
    path, result = os.path.join(folder, "order.json"), os.path.join(folder, "result.json")
    with open(path, "w") as stream:
        json.dump(dict(order, folder=folder, result=result), stream)
    command = [sys.executable, "-I", "-c", _START, sources, program, path]
    done = process.run(command, limit_s, phase, on_line)
    if done.code != 0:
        raise log.failure(done, phase, program)
    if log.MODEL_CHANGED in done.text:
        raise Fault("engine_other_module", log.MODEL_CHANGED)
    with open(result) as stream:
        answer: dict[str, Any] = json.load(stream)
    os.unlink(result)  # what this run wrote must never be read for another one
    return Done(answer, commands.shown(command))


def _write_sources(folder: str) -> str:
    """The programs as files: the agent itself lies on no disk of the board."""
    place = os.path.join(folder, "source")
    files = {os.path.join("bevlite", "__init__.py"): ""}
    for module in _MODULES:
        path = os.path.join(*module.split("."))
        package = any(other.startswith(module + ".") for other in _MODULES)
        files[os.path.join(path, "__init__.py") if package else path + ".py"] = source(module)
    for path, text in files.items():
        target = os.path.join(place, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="utf-8") as stream:
            stream.write(text)
    return place


def source(module: str) -> str:
    """Text of a module of the agent."""
    spec = importlib.util.find_spec(module)
    loader: Any = spec.loader if spec is not None else None
    text: str = loader.get_source(module)
    return text
