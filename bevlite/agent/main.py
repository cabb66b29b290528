"""The agent's main loop: requests on standard input, progress and one answer each on standard output.

It ends with its connection. When the input ends, or nothing was heard for a while, its programs are killed and its
lease is given back.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import IO, Any, Callable

from bevlite.agent import process
from bevlite.agent.fault import Fault
from bevlite.agent.jobs import engines, guard, infer, modules, time_frames
from bevlite.agent.lease import Lease
from bevlite.agent.messages import CHUNK, MAGIC, Message, MessageError, read_message, write_message
from bevlite.agent.protocol.protocol import Protocol
from bevlite.agent.store import Store, disk_fault
from bevlite.agent.system import conditions, identity, prepare

RELEASE_S = 2.0
SILENCE_S = 60.0
"""Without a word from the host for that long, the connection is dead: the host pings much more often."""


class Agent:
    """Answers the requests of one host until the connection ends."""

    def __init__(self, source: IO[bytes], sink: IO[bytes]) -> None:
        self._source, self._sink = source, sink
        self._requests: queue.Queue[tuple[Message, bytes]] = queue.Queue()
        self._heard = time.monotonic()
        self._writing = threading.Lock()
        self._lease: Lease | None = None
        self._store: Store | None = None
        self._board: dict[str, Any] | None = None
        self._operations: dict[str, Callable[[Message, bytes], tuple[Message, bytes]]] = {
            "identify": self._identify,
            "conditions": self._conditions,
            "prepare": self._prepare,
            "lease": self._take_lease,
            "release": self._release,
            "have": self._have,
            "put": self._put,
            "measure": self._measure,
            "infer": self._infer,
            "time_frames": self._time_frames,
            "engines": self._engines,
            "drop": self._drop,
            "get": self._get,
            "forget": self._forget,
        }

    def serve(self) -> None:
        """Answer requests one after the other. Never returns."""
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.end())
        self._sink.write(MAGIC)
        self._sink.flush()
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()
        while True:
            request, blob = self._requests.get()
            self._answer(request, blob)

    def end(self) -> None:
        """Leave nothing behind, at once."""
        process.end_all()
        if self._lease is not None:
            # In a thread of its own: a signal may have come while this one holds the guard of the lease.
            releasing = threading.Thread(target=self._lease.release, daemon=True)
            releasing.start()
            releasing.join(timeout=RELEASE_S)
        os._exit(0)

    def _listen(self) -> None:
        try:
            while True:
                message, blob = read_message(self._source)
                self._heard = time.monotonic()
                if message.get("op") != "ping":
                    self._requests.put((message, blob))
        except (MessageError, OSError, ValueError):
            self.end()

    def _watch(self) -> None:
        while time.monotonic() - self._heard < SILENCE_S:
            time.sleep(1)
        self.end()

    def _answer(self, request: Message, blob: bytes) -> None:
        try:
            operation = self._operations.get(str(request.get("op")))
            if operation is None:
                raise Fault("bad_request", "operation: found '{}'".format(request.get("op")))
            answer, data = operation(request, blob)
            self._write({"type": "result", "value": answer}, data)
        except Fault as fault:
            self._write({"type": "fault", "code": fault.code, "message": fault.message, "facts": fault.facts})
        except Exception as error:  # a defect of the agent: the host is told all that would help to mend it
            facts: dict[str, Any] = {"traceback": traceback.format_exc().strip().splitlines()[-6:]}
            code, message = "agent_failed", f"{type(error).__name__}: {error}"
            if isinstance(error, OSError):
                full = disk_fault(error)
                code, message, facts = full.code, full.message, {**full.facts, **facts}
            self._write({"type": "fault", "code": code, "message": message, "facts": facts})

    def _write(self, message: Message, blob: bytes = b"") -> None:
        try:
            with self._writing:
                write_message(self._sink, message, blob)
        except OSError:
            self.end()

    def _say(self, text: str) -> None:
        self._write({"type": "progress", "text": text})

    def _known_board(self, request: Message) -> dict[str, Any]:
        if self._board is None:
            self._board = identity.identify(request.get("tensorrt_root"))
        return self._board

    def _files(self) -> Store:
        if self._store is None:
            self._store = Store()
        return self._store

    def _identify(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        return self._known_board(request), b""

    def _conditions(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        board = self._known_board(request)
        found = conditions.read(board["jetson"])
        wrong = guard.problems(found, board["jetson"], Protocol(**request.get("protocol", {})))
        listed = [{"code": f.code, "message": f.message, "fix": f.facts.get("fix", "")} for f in wrong]
        return {"conditions": found, "problems": listed, "modes": conditions.modes()}, b""

    def _prepare(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        return {"done": prepare.prepare(request.get("power_mode"), bool(request.get("lock_clocks")))}, b""

    def _take_lease(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        if self._lease is None or self._lease.lost:
            lease = Lease(self._files().root, str(request["owner"]), float(request["ttl_s"]), process.end_all)
            lease.acquire(float(request["wait_s"]), self._say)
            self._lease = lease
        return {}, b""

    def _release(self, _request: Message, _: bytes) -> tuple[Message, bytes]:
        if self._lease is not None:
            self._lease.release()
            self._lease = None
        return {}, b""

    def _require_lease(self) -> None:
        if self._lease is None:
            raise Fault("lease_lost", "no lease is held on the board")
        self._lease.require()

    def _have(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        store, files = self._files(), request["files"]
        whole = [sha for sha in files if store.is_whole(sha)]
        return {"present": {sha: store.present(sha) for sha in files}, "whole": whole}, b""

    def _put(self, request: Message, blob: bytes) -> tuple[Message, bytes]:
        store, sha, offset, total = self._files(), request["sha256"], int(request["offset"]), int(request["total"])
        return {"present": store.append(sha, offset, total, blob), "whole": store.is_whole(sha)}, b""

    def _measure(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        return self._kept(request, modules.measure), b""

    def _infer(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        return self._kept(request, infer.infer), b""

    def _time_frames(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        return self._kept(request, time_frames.time_frames), b""

    def _engines(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        return engines.engines(request, self._files(), self._known_board(request)), b""

    def _drop(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        for sha in request["files"]:
            self._files().drop(sha)
        return {}, b""

    def _kept(self, request: Message, work: Callable[..., dict[str, Any]]) -> dict[str, Any]:
        """The result of a job: if it was finished before a connection was lost, it is still here."""
        store = self._files()
        found = store.result(request["job"])
        if found is None:
            self._require_lease()
            board = self._known_board(request)
            try:
                found = work(request, store, board, self._require_lease, self._say)
            except Fault:
                self._require_lease()  # whoever took the board killed our programs: that is the cause
                raise
            self._require_lease()
            store.keep_result(request["job"], found)
        self._say("result")
        return found

    def _get(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        with open(self._files().require(request["sha256"]), "rb") as stream:
            stream.seek(int(request["offset"]))
            return {}, stream.read(CHUNK)

    def _forget(self, request: Message, _: bytes) -> tuple[Message, bytes]:
        self._files().forget_result(request["job"])
        return {}, b""


def main() -> None:
    """Serve the host on standard input and output; what programs or libraries print goes to standard error."""
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Agent(sys.stdin.buffer, sink).serve()
