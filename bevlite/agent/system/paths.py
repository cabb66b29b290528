"""Where things lie on a board. Every absolute path goes through `at`, so that an emulated board is one folder."""

from __future__ import annotations

import glob
import os
import shutil

ROOT_VARIABLE = "BEVLITE_BOARD_ROOT"
"""Environment variable with the folder that stands for `/`; not set on a real board."""
EMULATED_MARK = "/etc/bevlite-emulated"


def at(path: str) -> str:
    """An absolute path of the board."""
    return os.environ.get(ROOT_VARIABLE, "") + path


def emulated() -> bool:
    """Whether this is no board but its emulation. Nothing that it answers may count as measured."""
    return os.path.exists(at(EMULATED_MARK))


def home() -> str:
    """The user's folder on the board."""
    folder, root = os.path.expanduser("~"), os.environ.get(ROOT_VARIABLE, "")
    return folder if root and folder.startswith(root) else at(folder)


def find(*patterns: str) -> list[str]:
    """Existing paths of the board that match glob patterns, in order."""
    return [found for pattern in patterns for found in sorted(glob.glob(at(pattern)))]


def read(path: str) -> str | None:
    """Text of a small file without its NUL bytes, or None. `path` comes from `at` or `find`."""
    try:
        with open(path, "rb") as stream:
            return stream.read(1 << 20).decode("utf-8", "replace").replace("\0", "").strip()
    except OSError:
        return None


def read_number(path: str) -> float | None:
    """The number in a file, or None."""
    text = read(path)
    try:
        return float(text) if text else None
    except ValueError:
        return None


def program(name: str, *folders: str) -> str | None:
    """Path of a program: in the folders first, then where systems keep them, then on PATH."""
    for folder in (*folders, "/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin", "/sbin"):
        path = at(os.path.join(folder, name))
        if os.access(path, os.X_OK):
            return path
    return shutil.which(name)
