"""The emulated board's ssh server lives no longer than who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bevlite.simulation.jetson.server import _answers
from tests.devices.conftest import require_sshd
from tests.test_architecture import ROOT

SERVE = """
import sys, time
from pathlib import Path
from bevlite.simulation.jetson.board import EmulatedBoard
with EmulatedBoard.create(Path(sys.argv[1]), tensorrt="10.3.0").serve() as server:
    print(server.port, flush=True)
    time.sleep(60)
"""


def test_it_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    require_sshd()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", SERVE, str(tmp_path / "board")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        assert _answers(port)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _answers(port) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _answers(port)
