"""JSON documents of a board folder: read, replaced whole, changed under a lock.

The fake tools start hundreds of times in a test and load the standard library alone, so this does not use
`bevlite.config`, which brings pydantic.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

THREADS = threading.RLock()
"""Held by the thread of this process that changes a document."""


def read(path: Path) -> dict[str, Any]:
    """The document, or an empty one where there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return dict(document)


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, so that no reader sees half of it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)


def write(path: Path, document: dict[str, Any]) -> None:
    """Replace a document."""
    write_text(path, json.dumps(document, indent=1) + "\n")


@contextmanager
def changing(path: Path) -> Iterator[dict[str, Any]]:
    """The document, to be changed; written back at the end, other writers wait.

    A record lock, because a process that is forked meanwhile (a data loader's, say) would keep an flock as long as it
    lives. Record locks do not hold threads apart, so these wait for each other besides.
    """
    with THREADS, open(path.with_suffix(".lock"), "w", encoding="utf-8") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        document = read(path)
        yield document
        write(path, document)
