"""A full disk for the Python programs of a board: the agent above all. What trtexec writes is in `trtexec/files.py`.

Loaded by every Python that starts on the board, so this file imports the standard library alone, and the rest of the
emulator when the disk is full.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

_START = '''"""EMULATED: files under the root meet a full disk when that fault is on."""

import importlib.util

spec = importlib.util.spec_from_file_location("emulated_disk_limit", {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.limit({folder!r}, {package!r})
'''
_PLACES = {"/.bevlite/uploads/": "uploads", "/.bevlite/results/": "results"}


def install(folder: Path, packages: Path) -> None:
    """Let every Python of the board that has these packages start with `limit`."""
    file = Path(__file__).resolve()
    text = _START.format(file=str(file), folder=str(folder), package=str(file.parents[2]))
    (packages / "emulated_disk.py").write_text(text, encoding="utf-8")
    # Not sitecustomize: Debian's Python has one of its own, which comes first.
    (packages / "emulated_disk.pth").write_text("import emulated_disk\n", encoding="utf-8")


def limit(folder: str, package: str) -> None:
    """From now on, what this process writes under the board's root goes through `_File`."""
    plain, root = builtins.open, os.path.join(folder, "root") + os.sep

    def limited(file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any) -> Any:
        path = os.path.abspath(file) if isinstance(file, (str, os.PathLike)) else ""
        if not set(mode) & set("wax") or "+" in mode or not path.startswith(root):
            return plain(file, mode, buffering, *more, **named)
        stream = io.BufferedWriter(_File(folder, package, path, mode.replace("b", "").replace("t", "")))
        return stream if "b" in mode else io.TextIOWrapper(stream, *more, **named)

    builtins.open = limited


class _File(io.FileIO):
    """A file that takes what still fits, and then nothing more: as the kernel does it."""

    def __init__(self, folder: str, package: str, path: str, mode: str) -> None:
        super().__init__(path, mode)
        self._folder, self._package, self._path = folder, package, path
        self._left: int | None = None

    def write(self, data: Any) -> int:
        """Bytes that were written (raises OSError: no space left)."""
        if self._left is None:
            fault = self._fault()
            if fault is None:
                return super().write(data)
            self._left = int(fault.get("free", 0))
        if self._left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
        written = super().write(memoryview(data)[: self._left])
        self._left -= written
        return written

    def _fault(self) -> dict[str, Any] | None:
        place = next((name for part, name in _PLACES.items() if part in self._path), "")
        try:
            with open(os.path.join(self._folder, "faults.json"), encoding="utf-8") as stream:
                wanted = json.load(stream).get("disk_full")
        except FileNotFoundError:
            return None
        if wanted is None or wanted.get("of", place) != place:
            return None
        return _take(self._folder, self._package, place)


def _take(folder: str, package: str, place: str) -> dict[str, Any] | None:
    """Count the fault as every tool of the board does. The agent has a `bevlite` of its own, which gets more parts."""
    sys.path.append(os.path.dirname(package))
    import bevlite

    if package not in bevlite.__path__:
        bevlite.__path__.append(package)
    from bevlite.simulation.jetson.faults import Faults

    return Faults(Path(folder)).take("disk_full", of=place)
