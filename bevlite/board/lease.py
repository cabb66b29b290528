"""The lease: one user of the board's GPU at a time, among all workers that share an account on it.

A file with owner, boot and expiry. The expiry counts on the board's uptime, which no change of the clock moves. It
is taken over when it has expired, when the board has been booted since, or when its process is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from typing import Any, Callable, Iterator

from bevlite.board import paths
from bevlite.board.fault import Fault
from bevlite.board.identity import boot_id

POLL_S = 0.1


class Lease:
    """A held lease: renewed in the background until it is released or lost."""

    def __init__(self, folder: str, owner: str, ttl_s: float, on_lost: Callable[[], None]) -> None:
        self._file = os.path.join(folder, "lease.json")
        self._guard = os.path.join(folder, "lease.guard")
        self._owner = owner
        self._ttl_s = ttl_s
        self._on_lost = on_lost
        self._ended = threading.Event()
        self.lost = False

    def acquire(self, wait_s: float, say: Callable[[str], None]) -> None:
        """Take the lease, waiting while somebody else holds it.

        Raises:
            Fault: `lease_held` after `wait_s`, with the owner.
        """
        deadline = time.monotonic() + wait_s
        told = False
        while True:
            holder = self._try()
            if holder is None:
                threading.Thread(target=self._renew, daemon=True).start()
                return
            if not told:
                say("waiting for the board: {} has it".format(holder.get("owner")))
                told = True
            if time.monotonic() >= deadline:
                message = "the board is leased by {} for another {:.0f} s"
                left = float(holder.get("expires", 0)) - uptime()
                raise Fault("lease_held", message.format(holder.get("owner"), max(0.0, left)))
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))

    def release(self) -> None:
        """Give the lease back, if it is still ours."""
        self._ended.set()
        with self._alone():
            if self._is_ours(self._read()):
                os.unlink(self._file)

    def require(self) -> None:
        """Raises Fault `lease_lost` if somebody else has taken it."""
        if self.lost:
            raise Fault("lease_lost", "the lease expired and another worker took the board; the figure is void")

    def _try(self) -> dict[str, Any] | None:
        with self._alone():
            holder = self._read()
            if holder is not None and self._is_valid(holder) and not self._is_ours(holder):
                return holder
            self._write()
            return None

    def _renew(self) -> None:
        while not self._ended.wait(self._ttl_s / 3):
            with self._alone():
                if self._ended.is_set():
                    return
                if self._is_ours(self._read()):
                    self._write()
                    continue
            self.lost = True
            self._on_lost()
            return

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else on this board reads or writes the lease meanwhile; the kernel frees the guard of the dead."""
        os.makedirs(os.path.dirname(self._guard), exist_ok=True)
        with open(self._guard, "a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any] | None:
        try:
            with open(self._file) as stream:
                data = json.load(stream)
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def _write(self) -> None:
        data = {"owner": self._owner, "pid": os.getpid(), "boot_id": boot_id(), "expires": uptime() + self._ttl_s}
        temporary = f"{self._file}.{os.getpid()}"
        with open(temporary, "w") as stream:
            json.dump(data, stream)
        os.replace(temporary, self._file)

    def _is_ours(self, holder: dict[str, Any] | None) -> bool:
        return holder is not None and holder.get("pid") == os.getpid() and holder.get("owner") == self._owner

    @staticmethod
    def _is_valid(holder: dict[str, Any]) -> bool:
        try:
            if holder["boot_id"] != boot_id() or float(holder["expires"]) <= uptime():
                return False
            return os.path.isdir("/proc/{:d}".format(holder["pid"]))  # our own kernel's, on an emulated board too
        except (KeyError, TypeError, ValueError):
            return False


def uptime() -> float:
    """Seconds since boot."""
    text = paths.read(paths.at("/proc/uptime"))
    try:
        return float((text or "").split()[0])
    except (IndexError, ValueError):
        return time.monotonic()
