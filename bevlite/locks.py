"""File locks that the kernel drops when their process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive lock on a file.

    POSIX record locks: they belong to the process and are not inherited by its children, so a loader process
    that outlives a killed process does not keep it locked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Take the lock; without `wait`, return False when another process holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            os.close(self._handle)  # closing releases
            self._handle = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


@contextmanager
def held_elsewhere(path: Path) -> Iterator[bool]:
    """Whether another process holds the lock at `path`; if not, it is held here meanwhile."""
    lock = FileLock(path)
    taken = path.parent.is_dir() and lock.acquire(wait=False)
    try:
        yield path.is_file() and not taken
    finally:
        lock.release()
