"""Starts one tool of an emulated board: `tool.py NAME FOLDER ARGUMENTS...`, called by the scripts under its root."""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

from bevlite.emulator.folder import BoardFolder

MODULES = {
    "session": "bevlite.emulator.session",
    "trtexec": "bevlite.emulator.trtexec.main",
    "tegrastats": "bevlite.emulator.tools.tegrastats",
    "nvpmodel": "bevlite.emulator.tools.nvpmodel",
    "jetson_clocks": "bevlite.emulator.tools.jetson_clocks",
    "sudo": "bevlite.emulator.tools.sudo",
    "dpkg-query": "bevlite.emulator.tools.dpkg_query",
    "uname": "bevlite.emulator.tools.uname",
    "date": "bevlite.emulator.tools.date",
    "reboot": "bevlite.emulator.tools.reboot",
    "nvidia-smi": "bevlite.emulator.tools.nvidia_smi",
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
