"""The folder of an emulated board: what it is, the state that it keeps, and who uses its GPU."""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bevlite.simulation.jetson import processes, store
from bevlite.simulation.jetson.faults import Faults
from bevlite.simulation.jetson.modules import Module, PowerMode, find_module
from bevlite.simulation.jetson.releases import Release, find_release, unknown_release

REBOOT_S = 45.0
"""Emulated seconds from the fall of a board to its next answer."""


@dataclass(frozen=True)
class Load:
    """One user of the GPU. `gpu` and `memory` are shares of time and of bandwidth, 0 to 1."""

    name: str
    pid: int
    gpu: float
    memory: float
    memory_mib: float
    started: float


class BoardFolder:
    """Reads and changes the state under one folder; every tool of the board holds one.

    State (`state.json`): power mode, a mode that waits for a reboot, locked clocks, boot time, until when it is down.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        self.faults = Faults(path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the board was created as: tensorrt, module, seed, time_scale."""
        return store.read(self.path / "board.json")

    @property
    def release(self) -> Release:
        """The TensorRT that is installed."""
        own = find_release(self.config["tensorrt"])
        unknown = self.faults.active("unknown_version")
        return own if unknown is None else unknown_release(str(unknown.get("version", "12.0.0")), own)

    @cached_property
    def module(self) -> Module:
        """The Jetson module."""
        return find_module(self.config["module"])

    @property
    def truth(self) -> dict[str, Any]:
        """The hidden factors of the latency model."""
        return store.read(self.path / "truth.json")

    @property
    def time_scale(self) -> float:
        """Real seconds that an emulated second takes."""
        return float(self.config["time_scale"])

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the state."""
        return store.read(self.path / "state.json")

    def change(self, **values: Any) -> None:
        """Change the state."""
        with store.changing(self.path / "state.json") as state:
            state.update(values)

    @property
    def mode(self) -> PowerMode:
        """The power mode that is in force."""
        return self.module.mode(int(self.state["mode"]))

    @property
    def clocks_locked(self) -> bool:
        """Whether jetson_clocks holds."""
        return bool(self.state["clocks_locked"]) and self.faults.active("clocks_unlocked") is None

    def now(self) -> float:
        """The time that the board believes in, in seconds since 1970."""
        jump = self.faults.active("clock_jump")
        jumped = jump is not None and "during" not in jump  # else it is still to come
        return time.time() + (float(jump.get("seconds", 3600)) if jump and jumped else 0.0)

    def uptime_s(self) -> float:
        """Seconds since the board booted, by its own clock."""
        return max(0.0, self.now() - float(self.state["booted_at"]))

    @property
    def is_down(self) -> bool:
        """Whether the board is rebooting."""
        until = self.state.get("down_until", 0.0)
        return until is None or time.time() < float(until)

    def boot(self, down_s: float | None = 0.0) -> None:
        """A new boot: another boot id, clocks released, a waiting power mode taken over.

        The board answers after `down_s`; with None when it is told to (`come_back`).
        """
        with store.changing(self.path / "state.json") as state:
            waiting = state.pop("pending_mode", None)
            if waiting is not None:
                state["mode"] = waiting
            up_at = None if down_s is None else time.time() + down_s
            state.update(clocks_locked=False, booted_at=up_at or time.time(), down_until=up_at)
            state["temperature"] = 38.0
        store.write_text(self.root / "proc/sys/kernel/random/boot_id", f"{uuid.UUID(int=random.getrandbits(128))}\n")

    def come_back(self) -> None:
        """Answer again after a reboot that lasts until this."""
        self.change(booted_at=time.time(), down_until=0.0)

    def reboot(self, *, stays_down: bool = False) -> None:
        """Reboot: everything that runs on the board dies (the caller last), the state is that of a new boot."""
        self.boot(down_s=None if stays_down else REBOOT_S * self.time_scale)
        for file in (self.path / "active").glob("*.json"):
            file.unlink(missing_ok=True)
        processes.kill_board(self.root)
        processes.kill_connections(self.path)
        processes.kill_callers(self.root)

    def loads(self) -> list[Load]:
        """Who uses the GPU now; what died without a word is taken off the list."""
        found = []
        for file in sorted((self.path / "active").glob("*.json")):
            try:
                load = Load(**json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue
            if processes.is_alive(load.pid):
                found.append(load)
            else:
                file.unlink(missing_ok=True)
        other = self.faults.active("other_gpu_process")
        if other is not None:
            share = float(other.get("load", 0.6))
            found.append(Load("other_node", 4242, share, share / 2, 1900.0, float(self.state["booted_at"])))
        return found
