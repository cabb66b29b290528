"""The kernels lie in the agent's text, and every file of the folder is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bevlite.agent.kernels import sources
from bevlite.devices.link.program import agent_program

FOLDER = Path(sources.__file__).parent
END = b"from bevlite.agent.main import main\nmain()\n"


def test_every_file_is_named() -> None:
    assert sorted(f"{name}.cu" for name in sources.KERNELS) == sorted(file.name for file in FOLDER.glob("*.cu"))
    assert sorted(sources.HEADERS) == sorted(file.name for file in FOLDER.glob("*.cuh"))


def test_they_are_read_from_the_agent_s_text(tmp_path: Path) -> None:
    _, text = agent_program().split(b"\n", 1)
    assert text.endswith(END)
    asked = b"from bevlite.agent.kernels import sources\nfor n in sources.HEADERS: print(len(sources.text(n)))\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-"], input=(text[: -len(END)] + asked).decode(),
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True,
    )  # fmt: skip
    assert [int(line) for line in done.stdout.split()] == [len(sources.text(name)) for name in sources.HEADERS]
