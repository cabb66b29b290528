"""Being a user of the board's GPU: counted in its load, its power and the times of others."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bevlite.simulation.jetson import store, sysfs
from bevlite.simulation.jetson.folder import BoardFolder, Load


@contextmanager
def using_gpu(board: BoardFolder, name: str, gpu: float, memory: float, memory_mib: float) -> Iterator[None]:
    """Count as a user of the GPU for a while. `gpu` and `memory` are shares of time and bandwidth."""
    load = Load(name, os.getpid(), gpu, memory, memory_mib, time.time())
    file = board.path / "active" / f"{load.pid}.json"
    store.write(file, dict(vars(load)))
    sysfs.refresh(board)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        sysfs.refresh(board)
