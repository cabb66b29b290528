"""One conversation with an agent: each request as a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bevlite.agent.messages import CHUNK
from bevlite.devices.link.faults import TruncatedAnswer
from bevlite.devices.link.transport import Connection
from bevlite.errors import BevliteError

QUICK_S = 60.0
"""Limit of a request that measures nothing."""
JOB_S = 6 * 3600.0
"""Limit of a whole job: its phases have limits of their own on the board."""
Say = Callable[[str], None]


class Session:
    """Requests over one connection (every method raises DeviceFault)."""

    def __init__(self, connection: Connection, tensorrt_root: str | None) -> None:
        self._connection = connection
        self._root = tensorrt_root

    def close(self) -> None:
        """End the agent."""
        self._connection.close()

    def identify(self) -> dict[str, Any]:
        """What the board is."""
        self._connection.phase = "identify"
        return self._ask("identify", tensorrt_root=self._root)

    def conditions(self, protocol: Mapping[str, Any]) -> dict[str, Any]:
        """Conditions, problems and power modes."""
        self._connection.phase = "conditions"
        return self._ask("conditions", tensorrt_root=self._root, protocol=dict(protocol))

    def prepare(self, power_mode: str | None, lock_clocks: bool) -> list[str]:
        """Set mode and clocks through sudo that asks nothing; what was done."""
        self._connection.phase = "prepare"
        done: list[str] = self._ask("prepare", power_mode=power_mode, lock_clocks=lock_clocks)["done"]
        return done

    def lease(self, owner: str, wait_s: float, ttl_s: float, say: Say) -> None:
        """Take the board, or go on holding it."""
        self._connection.phase = "lease"
        request = {"op": "lease", "owner": owner, "wait_s": wait_s, "ttl_s": ttl_s}
        self._connection.request(request, limit_s=wait_s + QUICK_S, on_progress=say)

    def release(self) -> None:
        """Give the board back."""
        self._ask("release")

    def upload(self, files: Mapping[str, Path | bytes]) -> None:
        """Send files by their SHA-256; what is there, whole or in part, is not sent again.

        A lease is given back before anything travels: nobody waits for a board that waits for a transfer.
        """
        self._connection.phase = "copy"
        answer = self._ask("have", files=list(files))
        missing = [sha256 for sha256 in files if sha256 not in answer["whole"]]
        if missing:
            self.release()
        for sha256 in missing:
            self._send(sha256, files[sha256], int(answer["present"][sha256]))

    def job(self, operation: str, say: Say, **values: Any) -> dict[str, Any]:
        """A long job; its result stays on the board until `forget`."""
        self._connection.phase = "build"
        request = {"op": operation, "tensorrt_root": self._root, **values}
        answer, _ = self._connection.request(request, limit_s=JOB_S, on_progress=say)
        return answer

    def forget(self, job: str) -> None:
        """The result has arrived."""
        self._ask("forget", job=job)

    def drop(self, files: Iterable[str]) -> None:
        """Delete uploaded files and fetched outputs on the board."""
        self._ask("drop", files=list(files))

    def engines(self, modules: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The engines of modules that the board has built, by module; `fetch_bytes` gets each."""
        self._connection.phase = "result"
        found: dict[str, dict[str, Any]] = self._ask("engines", tensorrt_root=self._root, modules=modules)["engines"]
        return found

    def fetch(self, row: Mapping[str, Any]) -> np.ndarray:
        """An output tensor that a job left on the board."""
        content = self.fetch_bytes(row, f"output '{row['name']}'")
        return np.frombuffer(content, row.get("dtype", "float32")).reshape(row["shape"])

    def fetch_bytes(self, row: Mapping[str, Any], what: str) -> bytes:
        """A file of the board by its `sha256` and `size`."""
        self._connection.phase = "result"
        content = bytearray()
        while len(content) < row["size"]:
            request = {"op": "get", "sha256": row["sha256"], "offset": len(content)}
            _, piece = self._connection.request(request, limit_s=QUICK_S)
            if not piece:
                raise TruncatedAnswer(self._connection.device, f"{what} is not whole")
            content += piece
        return bytes(content)

    def _send(self, sha256: str, content: Path | bytes, offset: int) -> None:
        """Send a file from an offset on, until the board has compared the whole with its hash."""
        whole, total = False, _size(content)
        while not whole:
            piece = _piece(content, offset)
            if isinstance(content, Path) and not piece and offset < total:
                raise BevliteError(f"{content}: became shorter while it was sent")
            answer = self._put(sha256, offset, total, piece)
            offset, whole = int(answer["present"]), bool(answer["whole"])

    def _put(self, sha256: str, offset: int, total: int, piece: bytes) -> dict[str, Any]:
        request = {"op": "put", "sha256": sha256, "offset": offset, "total": total}
        return self._connection.request(request, piece, limit_s=QUICK_S)[0]

    def _ask(self, operation: str, **values: Any) -> dict[str, Any]:
        return self._connection.request({"op": operation, **values}, limit_s=QUICK_S)[0]


def _size(content: Path | bytes) -> int:
    if isinstance(content, bytes):
        return len(content)
    try:
        return content.stat().st_size
    except OSError as error:
        raise BevliteError(f"{content}: {error.strerror} while it was sent") from None


def _piece(content: Path | bytes, offset: int) -> bytes:
    if isinstance(content, bytes):
        return content[offset : offset + CHUNK]
    try:
        with content.open("rb") as stream:
            stream.seek(offset)
            return stream.read(CHUNK)
    except OSError as error:
        raise BevliteError(f"{content}: {error.strerror} while it was sent") from None
