"""The agent must run on the Python of JetPack 5, with nothing installed."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path

import pytest

from bevlite.devices.link.program import RECEIVE, REMOTE_COMMAND, agent_program

FOLDER = Path(__file__).parents[2] / "bevlite" / "agent"


def _name(file: Path) -> str:
    return file.relative_to(FOLDER).with_suffix("").as_posix()


FILES = sorted(FOLDER.rglob("*.py"))
NEWER_METHODS = {"removeprefix", "removesuffix", "bit_count", "is_relative_to", "hardlink_to"}
NEWER_MODULES = {"tomllib", "zoneinfo", "graphlib"}


BESIDE = sorted(file for room in ("runtime", "kernels") for file in (FOLDER.parent / room).glob("*.py"))
"""What a runtime on the board imports beside the agent, with numpy."""


@pytest.mark.parametrize("file", [*FILES, *BESIDE], ids=lambda file: file.relative_to(FOLDER.parent).as_posix())
def test_it_is_python_3_8(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 8))
    annotations = {id(n) for node in ast.walk(tree) for n in _annotations(node)}
    assert any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in tree.body) or not tree.body[1:]
    brought = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "collections.abc"]
    abstract = {alias.name for node in brought for alias in node.names}
    for node in ast.walk(tree):
        if id(node) in annotations:
            continue
        if isinstance(node, ast.Attribute):
            assert node.attr not in NEWER_METHODS, f"{file.name}:{node.lineno}"
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            assert node.value.id not in abstract, f"{file.name}:{node.lineno}: typing has {node.value.id} for it"
            is_generic = node.value.id in dir(builtins) and isinstance(getattr(builtins, node.value.id), type)
            assert not is_generic, f"{file.name}:{node.lineno}: list[...] outside an annotation"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "zip":
            assert not node.keywords, f"{file.name}:{node.lineno}: zip(strict=...)"
        assert not isinstance(node, getattr(ast, "Match", ())), f"{file.name}: match"


def _annotations(node: ast.AST) -> list[ast.AST]:
    """Annotations are text for a file that imports them from the future."""
    found = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    return [inner for part in found if part is not None for inner in ast.walk(part)]


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_it_needs_the_standard_library_alone(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            if file.stem == "chain" and name == "tensorrt":
                continue  # where engines are executed, and only in the process that does so
            assert name.startswith("bevlite.agent") or (top in sys.stdlib_module_names and top not in NEWER_MODULES)


@pytest.mark.parametrize("file", [f for f in FILES if f.stem != "paths"], ids=_name)
def test_absolute_paths_go_through_one_function(file: Path) -> None:
    """So that an emulated board is one folder. `/proc/PID` of the lease is the kernel's that runs us."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            first = node.args[0]
            assert not (isinstance(first, ast.Constant) and str(first.value).startswith("/")), file.name


def test_the_remote_command_is_fixed_and_plain() -> None:
    assert f"exec python3 -I -c '{RECEIVE}'" == REMOTE_COMMAND
    assert not set(RECEIVE) & set("'\"$`\\\n!*?~")


def test_the_program_runs_without_the_package(tmp_path: Path) -> None:
    """As on a board: another folder, no BEVLite, only what comes on standard input."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RECEIVE],
        input=agent_program(),
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.stdout == b"\n=BEVLITE-AGENT-1=\n" and done.stderr == b""  # and it ended with its input
