"""The lease: one user of the board's GPU at a time, among all workers that share an account on it.

A file with owner, boot and expiry. The expiry counts on the board's uptime, which no change of the clock moves. It
is taken over when it has expired, when the board has been booted since, or when its process is gone.

Whoever has waited longest gets it next; a worker that looks at several boards in turn keeps its place for a while.
Who had the board from when to when stands in `leases.jsonl` beside it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
import time
from typing import Any, Callable, Iterator

from bevlite.agent.fault import Fault
from bevlite.agent.system import paths
from bevlite.agent.system.identity import boot_id

POLL_S = 0.1
AWAY_S = 0.5
"""A waiter that has not looked for that long looks at another board: it is passed over."""
KEPT_S = 4.0
"""And for that long it keeps its place."""
LOG_LIMIT = 1 << 20
"""Bytes of the log before it is begun anew; the one before is kept once."""


class Lease:
    """A held lease: renewed in the background until it is released or lost."""

    def __init__(self, folder: str, owner: str, ttl_s: float, on_lost: Callable[[], None]) -> None:
        self._file = os.path.join(folder, "lease.json")
        self._guard = os.path.join(folder, "lease.guard")
        self._queue = os.path.join(folder, "lease.queue")
        self._log = os.path.join(folder, "leases.jsonl")
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
                threading.Thread(target=self._keep, daemon=True).start()
                return
            if not told:
                say("waiting for the board: {} has it".format(holder.get("owner")))
                told = True
            if time.monotonic() >= deadline:
                self._step_aside()
                message = "the board is leased by {} for another {:.0f} s"
                left = float(holder.get("expires", 0)) - uptime()
                raise Fault("lease_held", message.format(holder.get("owner"), max(0.0, left)))
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))

    def release(self) -> None:
        """Give the lease back, if it is still ours."""
        self._ended.set()
        with self._alone():
            if self._is_ours(self._read(self._file)):
                os.unlink(self._file)
                self._note("released")

    def require(self) -> None:
        """Raises Fault `lease_lost` if somebody else has taken it."""
        if self.lost:
            raise Fault("lease_lost", "the lease expired and another worker took the board; the figure is void")

    def _try(self) -> dict[str, Any] | None:
        with self._alone():
            waiting = self._waiting()
            holder = self._read(self._file)
            if holder is None or not self._is_valid(holder) or self._is_ours(holder):
                first = self._first(waiting)
                holder = None if first == self._owner else {"owner": first}
            if holder is None:
                del waiting[self._owner]
            self._write(self._queue, waiting)
            if holder is None:  # last, so that a disk that is full now leaves no lease that nobody holds
                self._write(self._file, self._entry())
                self._note("taken")
            return holder

    def _waiting(self) -> dict[str, Any]:
        """Everybody who waits, by owner, with us among them: since when, and when last seen.

        By the clock that all processes of a kernel share, so that places can be compared.
        """
        now = time.monotonic()
        known = self._read(self._queue) or {}
        waiting = {name: place for name, place in known.items() if 0 <= now - place["seen"] < KEPT_S}
        since = waiting.get(self._owner, {}).get("since", now)
        waiting[self._owner] = {"since": since, "seen": now}
        return waiting

    def _step_aside(self) -> None:
        """Let others pass, and keep the place for a while."""
        with self._alone():
            waiting = self._waiting()
            waiting[self._owner]["seen"] -= AWAY_S
            self._write(self._queue, waiting)

    @staticmethod
    def _first(waiting: dict[str, Any]) -> str:
        """Who has waited longest of those who are here."""
        here = [name for name, place in waiting.items() if time.monotonic() - place["seen"] < AWAY_S]
        return min(here, key=lambda name: waiting[name]["since"])

    def renew(self) -> bool:
        """Hold it for longer; False when it is no longer ours, or was lost."""
        with self._alone():
            if self._ended.is_set():
                return False
            if self._is_ours(self._read(self._file)):
                with contextlib.suppress(OSError):  # a full disk: it is ours until it expires
                    self._write(self._file, self._entry())
                return True
        self.lost = True
        self._on_lost()
        return False

    def _keep(self) -> None:
        while not self._ended.wait(self._ttl_s / 3) and self.renew():
            pass

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else on this board reads or writes the lease meanwhile; the kernel frees the guard of the dead."""
        os.makedirs(os.path.dirname(self._guard), exist_ok=True)
        with open(self._guard, "a") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            yield

    def _read(self, path: str) -> dict[str, Any] | None:
        try:
            with open(path) as stream:
                data = json.load(stream)
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def _entry(self) -> dict[str, Any]:
        return {"owner": self._owner, "pid": os.getpid(), "boot_id": boot_id(), "expires": uptime() + self._ttl_s}

    def _write(self, path: str, data: dict[str, Any]) -> None:
        temporary = f"{path}.{os.getpid()}"
        try:
            with open(temporary, "w") as stream:
                json.dump(data, stream)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _note(self, event: str) -> None:
        """A line for whoever asks later who had the board. A full disk must not cost the lease."""
        line = {"owner": self._owner, "pid": os.getpid(), "event": event, "at": round(time.time(), 3)}
        with contextlib.suppress(OSError):
            if os.path.exists(self._log) and os.path.getsize(self._log) > LOG_LIMIT:
                os.replace(self._log, self._log + ".old")
            with open(self._log, "a") as stream:
                stream.write(json.dumps(line) + "\n")

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
