"""What travels with a package runs on the Python of JetPack 5, with numpy and TensorRT alone."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from bevlite.packaging.library import LIBRARY, ROOMS, library_files
from tests.agent.test_agent_source import test_it_is_python_3_8 as is_python_3_8

BEVLITE = Path(__file__).parents[2] / "bevlite"
FILES = sorted(file for room in ("board", "runtime") for file in (BEVLITE / room).rglob("*.py"))
ALLOWED = ("bevlite.agent", "bevlite.board", "bevlite.runtime", "numpy")


@pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_it_is_python_3_8_and_needs_numpy_alone(file: Path) -> None:
    is_python_3_8(file)
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        for name in names:
            assert name.startswith(ALLOWED) or name.split(".")[0] in sys.stdlib_module_names, f"{file.name}: {name}"


def test_every_room_travels_whole() -> None:
    files = library_files()
    for room in ROOMS:
        for path in (BEVLITE / room).rglob("*.py"):
            assert files[f"{LIBRARY}/{path.relative_to(BEVLITE).as_posix()}"] == path.read_bytes()
    assert {name.split("/")[0] for name in files} == {"lib", "scripts", "check"}
