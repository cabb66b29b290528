"""The import directions of the house, read from the source of every file."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BOTTOM = {"bounds", "config", "errors", "registry", "grid", "variant"}
RUNTIME = sorted(f.stem for f in (ROOT / "bevlite" / "runtime").glob("*.py"))


def _module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(node: ast.AST, file: Path, lazy: bool) -> Iterator[str]:
    """Absolute names of what a file imports; `lazy` for imports inside functions as well."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{file}: a relative import"
            assert child.module is not None
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif _is_typing_only(child) or (not lazy and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))):
            continue
        else:
            yield from _imports(child, file, lazy)


@lru_cache(maxsize=2)
def imports(lazy: bool) -> dict[str, set[str]]:
    """Every file of the packages by module name, with what it imports."""
    files = [f for top in ("bevlite", "search") for f in (ROOT / top).rglob("*.py")]
    assert len(files) > 80
    return {_module(f): set(_imports(ast.parse(f.read_text(encoding="utf-8")), f, lazy)) for f in files}


def room(name: str) -> str | None:
    """The room of bevlite that a module or an imported name is in (a file at the top is a room)."""
    parts = name.split(".")
    return parts[1] if parts[0] == "bevlite" and len(parts) > 1 and not parts[1].startswith("__") else None


def edges(lazy: bool = True) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for module, names in imports(lazy).items():
        source = room(module)
        if source is not None:
            graph.setdefault(source, set()).update(r for r in map(room, names) if r is not None and r != source)
    return graph


def test_the_scan_sees_what_is_there() -> None:
    assert {"models", "training", "runtime", "cli"} <= set(edges())
    assert "models" in edges()["training"] and "variant" in edges()["models"]


def test_the_library_knows_nothing_of_the_search() -> None:
    guilty = {m: n for m, names in imports(True).items() for n in names if not m.startswith("search")
              and n.split(".")[0] == "search"}  # fmt: skip
    assert guilty == {}


@pytest.mark.parametrize("name", sorted(BOTTOM))
def test_the_bottom_stands_on_itself(name: str) -> None:
    assert edges()[name] <= BOTTOM


@pytest.mark.parametrize("name", ["models", "data", "latency"])
def test_the_middle_knows_nothing_above(name: str) -> None:
    above = {"training", "evaluation", "export", "analysis", "devices", "reporting", "compression", "interop", "cli"}
    if name == "latency":  # its operators are counted on graphs that export makes
        above -= {"export"}
    assert not edges()[name] & above


def test_the_command_line_is_on_top() -> None:
    assert [r for r, below in edges().items() if "cli" in below] == []
    assert [m for m, names in imports(True).items() if m.split(".")[0] == "search" and m != "search.cli"
            and any(n.startswith("bevlite.cli") for n in names)] == []  # fmt: skip


def test_nothing_needs_what_only_simulates() -> None:
    """The emulated board and the generated world serve the library; the API and the command line alone call them."""
    guilty = {m: n for m, names in imports(True).items() for n in names if n.startswith("bevlite.simulation")
              and not m.startswith(("bevlite.simulation", "bevlite.cli", "bevlite.api"))}  # fmt: skip
    assert guilty == {} and "simulation" in edges()["cli"]


def test_no_circle_between_rooms() -> None:
    try:
        order = list(TopologicalSorter(edges(lazy=False)).static_order())
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")
    assert order.index("config") < order.index("variant") < order.index("models") < order.index("training")


@pytest.mark.parametrize("name", RUNTIME)
def test_the_board_needs_numpy_alone(name: str) -> None:
    module = "bevlite.runtime" if name == "__init__" else f"bevlite.runtime.{name}"
    allowed = set(sys.stdlib_module_names) | {"numpy", "tensorrt"}
    for imported in imports(True)[module]:
        assert imported.split(".")[0] in allowed or imported.startswith("bevlite.runtime"), imported


def test_what_runs_on_the_board_loads_no_torch() -> None:
    modules = ", ".join(f"bevlite.runtime.{n}" for n in RUNTIME if n != "__init__")
    code = f"import sys, {modules}; print([m for m in ('torch', 'pydantic', 'onnx', 'nuscenes') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
