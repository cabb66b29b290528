"""Programs of a package that use the GPU, each in a process of its own: an error of CUDA ends a process."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Callable

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.trtexec import log
from bevlite.board.contents import Package

_START = (
    "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1]); "
    "from bevlite.board.child import main; main()"
)
LINE = "frames: "
"""In front of what `frames` prints every interval."""
FAULT = "fault: "
"""In front of a Fault that a program printed before it ended."""


def command_of(package: Package, program: str, order: dict[str, Any], folder: str) -> list[str]:
    """The command of a program; its order, with the folder that it may write to, lies in that folder."""
    path = os.path.join(folder, program + ".json")
    with open(path, "w") as stream:
        json.dump(dict(order, root=package.root, folder=folder, result=path + ".result"), stream)
    return [sys.executable, "-I", "-B", "-c", _START, os.path.join(package.root, "lib"), program, path]


def run(
    package: Package,
    program: str,
    order: dict[str, Any],
    folder: str,
    limit_s: float,
    on_line: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The answer of a program (raises Fault: its own, or that it failed or took longer)."""
    done = process.run(command_of(package, program, order, folder), limit_s, "run", on_line)
    if done.code != 0:
        raise failure(done, program)
    with open(os.path.join(folder, program + ".json.result")) as stream:
        answer: dict[str, Any] = json.load(stream)
    return answer


def failure(done: process.Finished, program: str) -> Fault:
    """What a program that ended badly has said of it."""
    for line in reversed(done.text.splitlines()):
        if line.startswith(FAULT):
            found = json.loads(line[len(FAULT) :])
            return Fault(found["code"], found["message"], **found["facts"])
    return log.failure(done, "run", program)
