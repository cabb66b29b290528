"""A PostgreSQL server for the length of a `with` block: on loopback, in a folder of its own, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGED = Path("/usr/lib/postgresql")
SYSTEM_USER = "postgres"
START_S = 30.0


def find_programs() -> Path | None:
    """The folder of initdb and postgres; None where PostgreSQL is not installed."""
    found = sorted(PACKAGED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def serve(programs: Path) -> Iterator[str]:
    """The URL of an empty database.

    Raises:
        RuntimeError: the server did not start; with what it said.
    """
    # It refuses to run as root: Debian's package brings a user for it.
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": SYSTEM_USER, "group": SYSTEM_USER, "extra_groups": []}
    place = Path(tempfile.mkdtemp(prefix="bevlite-postgresql-"))
    if user:
        shutil.chown(place, SYSTEM_USER, SYSTEM_USER)
    data, port = place / "data", _free_port()
    try:
        options = [
            "--pgdata",
            str(data),
            "--auth",
            "trust",
            "--username",
            "search",
            "--no-sync",
            "--locale",
            "C",
            "--encoding",
            "UTF8",
        ]
        subprocess.run([programs / "initdb", *options], cwd=place, check=True, stdout=subprocess.DEVNULL, **user)
        command = [programs / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(command, cwd=place, stdout=log, stderr=log, **user)
        try:
            _wait_for(server, port, place / "log")
            yield f"postgresql+psycopg://search@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # its fast way: clients that are still there are cut off
            server.wait(timeout=START_S)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if b"ready to accept connections" in log.read_bytes():
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start on port {port}: {log.read_text(errors='replace')[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
