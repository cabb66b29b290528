"""Begins a program that `runner` started: its order from a file, its answer to a file, its failure in one line."""

from __future__ import annotations

import importlib
import json
import os
import sys

from bevlite.agent.python_api.chain import libraries
from bevlite.agent.python_api.cuda import RunnerError


def main() -> None:
    """Do what the arguments say: the folder of the sources, the program's name, and the file of its order."""
    program, path = sys.argv[2], sys.argv[3]
    with open(path) as stream:
        order = json.load(stream)
    work = importlib.import_module("bevlite.agent.python_api." + program)
    tensorrt, library = libraries()
    try:
        answer = work.run(order, tensorrt, library)
    except RunnerError as error:
        print(error, flush=True)
        os._exit(1)  # destructors of engines after a failure would hide the cause
    with open(order["result"], "w") as stream:
        json.dump(answer, stream)
