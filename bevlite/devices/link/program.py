"""The agent as one program text, and the one command that receives it."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import bevlite.agent

RECEIVE = "import sys; s = sys.stdin.buffer; exec(s.read(int(s.readline())))"
"""Reads a length and a program from standard input and runs it."""
REMOTE_COMMAND = f"exec python3 -I -c '{RECEIVE}'"
"""All that a board's shell ever sees. No value is put into it: every value travels on standard input."""
_LOADER = '''
import importlib.abc, importlib.util, json, sys
SOURCES = json.loads({sources!r})

class Memory(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the agent's modules from the text above: nothing of it is written to the board."""

    def find_spec(self, name, path, target=None):
        package = any(other.startswith(name + ".") for other in SOURCES)
        return importlib.util.spec_from_loader(name, self, is_package=package) if name in SOURCES else None

    def create_module(self, spec):
        return None

    def get_source(self, name):
        return SOURCES[name]

    def get_data(self, path):
        return SOURCES["bevlite.agent.kernels." + path].encode()

    def exec_module(self, module):
        exec(compile(SOURCES[module.__name__], "<" + module.__name__ + ">", "exec"), module.__dict__)

sys.meta_path.insert(0, Memory())
from bevlite.agent.main import main
main()
'''


@lru_cache(maxsize=1)
def agent_program() -> bytes:
    """Length and text of the agent, as `RECEIVE` reads them."""
    folder = Path(bevlite.agent.__file__).parent
    sources = {"bevlite": ""}
    for file in sorted(folder.rglob("*.py")):
        parts = ("bevlite", "agent", *file.relative_to(folder).with_suffix("").parts)
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file.read_text("utf-8")
    for file in sorted((folder / "kernels").glob("*.cu*")):
        sources[f"bevlite.agent.kernels.{file.name}"] = file.read_text("utf-8")
    text = _LOADER.format(sources=json.dumps(sources)).encode()
    return f"{len(text)}\n".encode() + text
