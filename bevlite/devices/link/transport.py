"""A connection to an agent: a child process (ssh, or Python itself) and messages over its pipes."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

from bevlite.agent.messages import MAGIC, Message, MessageError, read_message, write_message
from bevlite.devices.link.faults import (
    AuthRefused,
    ConnectionLost,
    DeviceFault,
    HostKeyChanged,
    PythonMissing,
    Unreachable,
    fault_of,
)
from bevlite.devices.link.program import REMOTE_COMMAND, agent_program

PING_S = 5.0
GREETING_LIMIT = 1 << 16
"""Bytes that a login script may print before the agent speaks."""
_SIGNS: tuple[tuple[type[DeviceFault], tuple[str, ...]], ...] = (
    (HostKeyChanged, ("REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed", "host key is known")),
    (AuthRefused, ("Permission denied", "Too many authentication failures")),
    (
        Unreachable,
        ("Could not resolve", "Connection refused", "timed out", "No route to host", "Network is unreachable",
         "Connection reset", "Connection closed by", "banner exchange"),
    ),
    (PythonMissing, ("python3: not found", "python3: command not found", "No such file or directory: 'python3'")),
)  # fmt: skip
_FIXES = {
    HostKeyChanged: "check the board; if the change is yours: ssh-keygen -R HOST, then connect once by hand",
    AuthRefused: "ssh to it by hand first (ssh-copy-id HOST)",
}


def ssh_command(alias: str, ssh_config: str | None, connect_s: int) -> list[str]:
    """The ssh call: the user's own configuration, nobody is asked anything, host keys are checked as configured."""
    config = ["-F", ssh_config] if ssh_config else []
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(connect_s),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", *config, "-T", *flags, "--", alias, REMOTE_COMMAND]


class Connection:
    """One running agent."""

    def __init__(self, device: str, argv: Sequence[str], connect_s: float) -> None:
        """Start the agent.

        Raises:
            DeviceFault: it did not answer (Unreachable, AuthRefused, HostKeyChanged, PythonMissing, ConnectionLost).
        """
        self.device = device
        self.phase = "connect"
        try:
            # A process group of its own: a Ctrl-C reaches us, and we end it in order.
            self._child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(device, f"{argv[0]}: cannot be started ({error.strerror})") from None
        self._errors: list[bytes] = []
        self._answers: queue.Queue[tuple[Message, bytes] | None] = queue.Queue()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._decided = threading.Event()  # whether there is an agent, or will be none
        self._greeted = False
        # The program is longer than a pipe holds: a connection that stalls would hold us with it.
        threads = (self._read_errors, self._read_answers, self._send_program)
        self._threads = [threading.Thread(target=work, daemon=True) for work in threads]
        for thread in self._threads:
            thread.start()
        if not self._decided.wait(connect_s) or not self._greeted:
            raise self._lost()
        threading.Thread(target=self._ping, daemon=True).start()

    def request(
        self, message: Message, blob: bytes = b"", *, limit_s: float, on_progress: Callable[[str], None] | None = None
    ) -> tuple[Message, bytes]:
        """Ask, and wait for the answer.

        Raises:
            DeviceFault: what the agent reports; ConnectionLost when it is gone or silent for `limit_s`.
        """
        with self._writing:
            try:
                assert self._child.stdin is not None
                write_message(self._child.stdin, message, blob)
            except (OSError, ValueError):
                raise self._lost() from None
        deadline = time.monotonic() + limit_s
        while True:
            try:
                answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.close()
                raise ConnectionLost(
                    self.device, f"no answer within {limit_s:.0f} s in phase '{self.phase}'", {"phase": self.phase}
                ) from None
            if answer is None:
                raise self._lost()
            found, data = answer
            if found["type"] == "progress":
                self.phase = _phase(found["text"], self.phase)
                if on_progress is not None:
                    on_progress(found["text"])
            elif found["type"] == "fault":
                raise fault_of(found["code"], self.device, found["message"], found["facts"])
            else:
                return found["value"], data

    def close(self) -> None:
        """End the agent: it kills what it started and gives its lease back."""
        if self._closed.is_set():
            return
        self._closed.set()
        if not self._greeted:  # what is still being sent would never be read
            self._child.kill()
        with contextlib.suppress(OSError, ValueError):
            assert self._child.stdin is not None
            self._child.stdin.close()
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        for thread in self._threads:
            thread.join(timeout=5)
        for stream in (self._child.stdout, self._child.stderr):
            assert stream is not None
            stream.close()

    def _send_program(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the reader finds out why
            assert self._child.stdin is not None
            self._child.stdin.write(agent_program())
            self._child.stdin.flush()

    def _read_errors(self) -> None:
        assert self._child.stderr is not None
        for line in self._child.stderr:
            self._errors.append(line)
            del self._errors[:-200]

    def _read_answers(self) -> None:
        stream = self._child.stdout
        assert stream is not None
        with contextlib.suppress(MessageError, OSError, ValueError):
            greeting = b""
            while not greeting.endswith(MAGIC):
                piece = stream.read(1)
                if not piece or len(greeting) > GREETING_LIMIT:
                    raise MessageError("no agent")
                greeting += piece
            self._greeted = True
            self._decided.set()
            while True:
                self._answers.put(read_message(stream))
        self._answers.put(None)
        self._decided.set()

    def _ping(self) -> None:
        while not self._closed.wait(PING_S):
            with self._writing, contextlib.suppress(OSError, ValueError):
                assert self._child.stdin is not None
                write_message(self._child.stdin, {"op": "ping"})

    def _lost(self) -> DeviceFault:
        """Why there is no agent, from what ssh printed."""
        silent = not self._decided.is_set()
        self.close()
        text = b"".join(self._errors).decode("utf-8", "replace")
        last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no word")
        # Once the agent has answered, what ssh prints is how the connection ended, not why there was none.
        for fault, signs in _SIGNS if self.phase == "connect" else ():
            if any(sign in text for sign in signs):
                return fault(self.device, last, {"fix": _FIXES.get(fault, "")})
        if silent:
            return Unreachable(self.device, "no answer while connecting")
        return ConnectionLost(self.device, f"connection lost in phase '{self.phase}' ({last})", {"phase": self.phase})


def _phase(text: str, before: str) -> str:
    word = text.split()[0] if text else ""
    return word if word in ("build", "measure", "profile", "run", "result") else before
