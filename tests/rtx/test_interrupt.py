"""Ctrl-C while several compilers run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.rtx.conftest import StandIn


def test_ctrl_c_ends_the_compilers(file: Path, stand_in: StandIn) -> None:
    stand_in.does("time.sleep(600)")
    code = f"from bevlite.export.check.witness import witnesses; from pathlib import Path; p = Path({str(file)!r})\n"
    code += "print('asking', flush=True); witnesses({'a': p, 'b': p, 'c': p})"
    asker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert asker.stdout is not None and asker.stdout.readline() == "asking\n"
    time.sleep(0.5)
    began = time.monotonic()
    asker.send_signal(signal.SIGINT)
    _, said = asker.communicate(timeout=60)
    assert "KeyboardInterrupt" in said and time.monotonic() - began < 30
