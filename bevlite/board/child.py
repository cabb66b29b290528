"""Begins a program that `start` started: its order from a file, its answer to a file, its fault in one line."""

from __future__ import annotations

import importlib
import json
import os
import sys

from bevlite.agent.fault import Fault
from bevlite.agent.store import disk_fault
from bevlite.board.start import FAULT


def main() -> None:
    """Do what the arguments say: the library, the program's name, and the file of its order."""
    program, path = sys.argv[2], sys.argv[3]
    with open(path) as stream:
        order = json.load(stream)
    try:
        work = importlib.import_module("bevlite.board." + program)
        answer = work.run(order)
        with open(order["result"], "w") as stream:
            json.dump(answer, stream)
    except Fault as fault:
        _say(fault)
    except ImportError as error:
        _say(Fault("python_missing", f"{error}", fix="sudo apt install python3-libnvinfer python3-numpy"))
    except OSError as error:
        _say(disk_fault(error))


def _say(fault: Fault) -> None:
    print(FAULT + json.dumps({"code": fault.code, "message": fault.message, "facts": fault.facts}), flush=True)
    os._exit(1)  # destructors of engines after a failure would hide the cause
