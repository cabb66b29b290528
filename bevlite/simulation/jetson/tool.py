"""Starts one tool of an emulated board: `tool.py NAME FOLDER ARGUMENTS...`, called by the scripts under its root."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

from bevlite.simulation.jetson.folder import BoardFolder

MODULES = {
    "session": "bevlite.simulation.jetson.session",
    "trtexec": "bevlite.simulation.jetson.trtexec.main",
    "tegrastats": "bevlite.simulation.jetson.tools.tegrastats",
    "nvpmodel": "bevlite.simulation.jetson.tools.nvpmodel",
    "jetson_clocks": "bevlite.simulation.jetson.tools.jetson_clocks",
    "sudo": "bevlite.simulation.jetson.tools.sudo",
    "dpkg-query": "bevlite.simulation.jetson.tools.dpkg_query",
    "uname": "bevlite.simulation.jetson.tools.uname",
    "date": "bevlite.simulation.jetson.tools.date",
    "reboot": "bevlite.simulation.jetson.tools.reboot",
    "nvidia-smi": "bevlite.simulation.jetson.tools.nvidia_smi",
}


def main() -> int:
    """Run the tool that `sys.argv` names; returns its exit code."""
    name, folder, *arguments = sys.argv[1:]
    board = BoardFolder(Path(folder))
    if name != "session":  # a reader that goes away ends a tool quietly, as it ends a program in C
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return int(importlib.import_module(MODULES[name]).main(board, arguments))
    except KeyboardInterrupt:
        return 130
