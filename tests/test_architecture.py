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
ORDER = (
    "errors", "callable_room", "bounds", "plain_yaml", "custom_imports", "config", "tensorrt", "grid", "locks",
    "orphans", "shape_inference", "source_tree", "registry", "rtx",
    "agent", "runtime", "kernels", "board", "data", "metrics", "losses", "tasks", "variant", "models", "run_folder",
    "interop", "latency", "devices", "inference", "reporting", "analysis", "export", "training", "evaluation",
    "compression", "deploy", "packaging", "simulation", "testing", "api", "cli",
)  # fmt: skip
"""The rooms of bevlite from the ground up: each imports from those before it, and from no other."""
LONGEST_FILE = 400
BOARD = sorted(f for room in ("runtime", "kernels") for f in (ROOT / "bevlite" / room).glob("*.py"))
"""What a board imports beside the agent."""


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


def test_every_room_imports_from_below() -> None:
    """Imports inside functions count as well: what is imported late is needed all the same."""
    found = edges()
    assert set(found) | {"__init__"} >= {room for room in ORDER if (ROOT / "bevlite" / room).exists()}
    assert [room for room in found if room not in ORDER] == []
    up = [(room, below) for room, rooms in found.items() for below in rooms if ORDER.index(below) >= ORDER.index(room)]
    assert up == []


def test_no_circle_between_files() -> None:
    packages = {module for module in imports(True) if f"{module}." in " ".join(sorted(imports(True)))}
    graph: dict[str, set[str]] = {}
    for module, names in imports(True).items():
        known = {name if name in imports(True) else name.rpartition(".")[0] for name in names}
        graph[module] = {n for n in known if n in imports(True) and n != module and n not in packages}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {' -> '.join(error.args[1])}")


def test_no_file_is_long() -> None:
    folders = ("bevlite", "search", "tests", "benchmarks")
    lengths = {f: len(f.read_text(encoding="utf-8").splitlines()) for d in folders for f in (ROOT / d).rglob("*.py")}
    assert {str(f.relative_to(ROOT)): n for f, n in lengths.items() if n > LONGEST_FILE} == {}


def _keys(node: ast.AST) -> list[ast.expr]:
    """What a node looks something up by, or lists: keys, members, what is compared."""
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Dict):
        return [key for key in node.keys if key is not None]
    return list(node.elts) if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else []


def test_nobody_outside_a_task_names_its_maps() -> None:
    """Names of raw maps stand in the file or the folder of a task; a head takes them from there."""
    from bevlite.tasks.contract import TASKS  # no torch

    assert set(TASKS.members) == {"detection", "map_segmentation", "occupancy"}
    tasks = ROOT / "bevlite" / "tasks"
    homes = [tasks / f"{name}.py" if (tasks / f"{name}.py").exists() else tasks / name for name in TASKS.members]
    files = {file for home in homes for file in ([home] if home.suffix else home.glob("*.py"))}
    assert files >= {Path(str(sys.modules[task.__module__].__file__)) for task in TASKS.members.values()}
    guilty = []
    for file in (*(ROOT / "bevlite").rglob("*.py"), *(ROOT / "search").rglob("*.py")):
        if file in files or "simulation" in file.parts or "data" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for key in _keys(node):
                # A head is listed under its task's name, which is that of its map for occupancy.
                own = ("heatmap", "boxes", "query_boxes", "map_logits")
                maps = own if isinstance(node, ast.Dict) else (*own, "occupancy")
                if isinstance(key, ast.Constant) and key.value in maps:
                    guilty.append(f"{file.relative_to(ROOT)}:{key.lineno}")
    assert guilty == []


def test_the_command_line_is_on_top() -> None:
    assert [r for r, below in edges().items() if "cli" in below] == []
    assert [m for m, names in imports(True).items() if m.split(".")[0] == "search" and m != "search.cli"
            and any(n.startswith("bevlite.cli") for n in names)] == []  # fmt: skip


def test_nothing_needs_what_only_simulates() -> None:
    """The emulated board and the generated world serve the library; the API and the command line alone call them."""
    guilty = {m: n for m, names in imports(True).items() for n in names if n.startswith("bevlite.simulation")
              and not m.startswith(("bevlite.simulation", "bevlite.cli", "bevlite.api"))}  # fmt: skip
    assert guilty == {} and "simulation" in edges()["cli"]


@pytest.mark.parametrize("file", BOARD, ids=_module)
def test_the_board_needs_numpy_alone(file: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "tensorrt"}
    ours = ("bevlite.runtime", "bevlite.kernels", "bevlite.agent")
    for imported in imports(True)[_module(file)]:
        assert imported.split(".")[0] in allowed or imported.startswith(ours), imported


def test_what_runs_on_the_board_loads_no_torch() -> None:
    modules = ", ".join(_module(file) for file in BOARD)
    code = f"import sys, {modules}; print([m for m in ('torch', 'pydantic', 'onnx', 'nuscenes') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
