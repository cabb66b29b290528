"""What stays on the board, in ~/.bevlite: uploads by content, engines, timing caches, results not yet fetched."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from typing import IO, Any

from bevlite.agent.fault import FULL_DISK_FIX, Fault
from bevlite.agent.system import paths

KEPT_RESULTS_S = 7 * 86400
"""A result that nobody fetched in that time is thrown away."""
KEPT_WORK_S = 86400
"""A working folder of that age belongs to no living agent."""


class Store:
    """The folder, with a place for each kind of file."""

    def __init__(self) -> None:
        self.root = os.path.join(paths.home(), ".bevlite")
        for name in ("uploads", "engines", "timing", "results", "work"):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)
        self._clear_work()

    def upload(self, sha256: str) -> str:
        """Path of an uploaded file."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise Fault("bad_request", f"not a SHA-256: '{sha256[:80]}'")
        return os.path.join(self.root, "uploads", sha256)

    def present(self, sha256: str) -> int:
        """Bytes that are here: all of a whole file, or the part that came before a connection was lost."""
        for path in (self.upload(sha256), self.upload(sha256) + ".part"):
            if os.path.exists(path):
                return os.path.getsize(path)
        return 0

    def is_whole(self, sha256: str) -> bool:
        """Whether a file is here with all its bytes, compared with its hash."""
        return os.path.exists(self.upload(sha256))

    def append(self, sha256: str, offset: int, total: int, blob: bytes) -> int:
        """Write a piece of a file; the last one makes it whole. Returns the bytes that are here.

        Raises:
            Fault: `disk_full`, and nothing of the file is left; `upload_damaged` when it does not match its hash.
        """
        path = self.upload(sha256)
        part = path + ".part"
        if self.is_whole(sha256):
            return total
        try:
            with open(part, "ab") as stream:
                # Two workers may send the same file: each goes on from what is there.
                fcntl.flock(stream, fcntl.LOCK_EX)
                if not _is_at(stream, part):  # the other one has finished it meanwhile, or lost it to a full disk
                    return self.present(sha256)
                if self.is_whole(sha256):
                    os.unlink(part)
                    return total
                size = os.fstat(stream.fileno()).st_size
                if size != offset:
                    return size
                try:
                    stream.write(blob)
                    stream.flush()
                except OSError:
                    os.unlink(part)  # a full disk is not kept full by half a file
                    raise
                if offset + len(blob) < total:
                    return offset + len(blob)
                if _sha256(part) != sha256:
                    os.unlink(part)
                    raise Fault("upload_damaged", "an uploaded file does not match its hash; it is sent again")
                os.replace(part, path)
        except OSError as error:
            raise disk_fault(error) from None
        return total

    def require(self, sha256: str) -> str:
        """Path of a file that must be here whole."""
        path = self.upload(sha256)
        if not os.path.exists(path):
            raise Fault("upload_missing", f"file {sha256[:12]} is not on the board")
        return path

    def drop(self, sha256: str) -> None:
        """Delete an uploaded file, or an output that was fetched."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.upload(sha256))

    def engine(self, key: str) -> str:
        """Folder of an engine."""
        return os.path.join(self.root, "engines", key)

    def keep_engine(self, key: str, folder: str) -> None:
        """Put a finished engine in its place, whole or not at all."""
        self.drop_engine(key)
        os.replace(folder, self.engine(key))

    def drop_engine(self, key: str) -> None:
        """Forget an engine that cannot be used."""
        shutil.rmtree(self.engine(key), ignore_errors=True)

    def timing_cache(self, name: str) -> str:
        """The timing cache of a version and device."""
        return os.path.join(self.root, "timing", name + ".bin")

    def work(self) -> str:
        """A new folder for files of one job."""
        return tempfile.mkdtemp(dir=os.path.join(self.root, "work"))

    def result(self, job: str) -> dict[str, Any] | None:
        """A finished result that was not fetched, or None."""
        try:
            with open(self._result(job)) as stream:
                data: dict[str, Any] = json.load(stream)
                return data
        except (OSError, ValueError):
            return None

    def keep_result(self, job: str, result: dict[str, Any]) -> None:
        """Keep a result until it is fetched: a connection lost now costs nothing."""
        temporary = self._result(job) + ".new"
        try:
            with open(temporary, "w") as stream:
                json.dump(result, stream)
            os.replace(temporary, self._result(job))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise disk_fault(error) from None

    def forget_result(self, job: str) -> None:
        """The host has the result; with it go those that nobody came for."""
        folder = os.path.join(self.root, "results")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if path == self._result(job) or time.time() - os.path.getmtime(path) > KEPT_RESULTS_S:
                os.unlink(path)

    def _clear_work(self) -> None:
        """Folders of agents that were killed."""
        folder = os.path.join(self.root, "work")
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                if time.time() - os.path.getmtime(path) > KEPT_WORK_S:
                    shutil.rmtree(path, ignore_errors=True)

    def _result(self, job: str) -> str:
        return os.path.join(self.root, "results", hashlib.sha256(job.encode()).hexdigest() + ".json")


def disk_fault(error: OSError) -> Fault:
    """A full disk, or whatever else the file system says."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault("disk_full", "no space left on the board's disk", fix=FULL_DISK_FIX)
    where = f": {error.filename}" if error.filename else ""
    return Fault("disk_failed", f"the board's disk: {error.strerror or error}{where}")


def _is_at(stream: IO[bytes], path: str) -> bool:
    """Whether an open file still has that name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()
