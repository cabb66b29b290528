"""The Python files that travel: what runs on the board, from the rooms that are made for it."""

from __future__ import annotations

from pathlib import Path

import bevlite

ROOMS = ("agent", "runtime", "board")
"""Rooms that need nothing but the standard library, numpy and TensorRT."""
LIBRARY = "lib/bevlite"
STUB = '"""The part of BEVLite that runs on a board."""\n'
_PROGRAM = '''"""{says}"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True  # a package holds what its manifest names, and nothing else
sys.path.insert(0, os.path.join(ROOT, "lib"))

from bevlite.board.{module} import main  # noqa: E402

sys.exit(main(ROOT, sys.argv[1:]))
'''
_START = """#!/bin/sh
# {says}
exec python3 -I -B "$(dirname "$0")/{script}" "$@"
"""
PROGRAMS = {
    "run": ("run", "Frames through the network: the samples of the package, or your own; one line of JSON a frame."),
    "benchmark": ("benchmark", "How long frames take on this board, step by step."),
    "monitor": ("monitor", "Frames for a while, and how the board stands meanwhile: JSON lines and a page of curves."),
    "check": ("check", "Is the package whole, does it fit this board, and does it keep what it promises?"),
}
"""Scripts by name: the module of the library that does the work, and what it does."""


def library_files() -> dict[str, bytes]:
    """Sources and scripts by their place in a package."""
    root = Path(bevlite.__file__).resolve().parent
    files = {f"{LIBRARY}/__init__.py": STUB.encode()}
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            files[f"{LIBRARY}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    for name, (module, says) in PROGRAMS.items():
        files[f"scripts/{name}.py"] = _PROGRAM.format(module=module, says=says).encode()
        if name != "check":
            files[f"scripts/{name}"] = _START.format(script=f"{name}.py", says=says).encode()
    files["check"] = _START.format(script="scripts/check.py", says=PROGRAMS["check"][1]).encode()
    return files


def is_program(name: str) -> bool:
    """Whether a file of a package is to be executable."""
    return name == "check" or (name.startswith("scripts/") and not name.endswith(".py"))
