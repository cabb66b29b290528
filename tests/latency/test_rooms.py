"""The order of the rooms of the latency model: what each may import, and that nothing runs back up.

    onnx, device, coefficients, pipeline   what is read: graphs, boards, figures. They know nothing of each other
    gpu                                    kernels of a graph and their times, behind `gpu.backend`
    interval, predictor                    from a file to a latency, and how sure it is
    calibration, dla                       what is fitted to measurements; the other accelerator

Imports under TYPE_CHECKING and inside functions count like all others.
"""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = "bevlite.latency"
FLOORS = (
    {"onnx", "device", "coefficients", "pipeline"},
    {"gpu"},
    {"interval"},
    {"predictor"},
    {"calibration", "dla"},
)
"""From the ground up: a room imports from floors below its own, and from itself."""


def _files() -> dict[str, Path]:
    found = {}
    for file in (ROOT / "bevlite" / "latency").rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def _imports(file: Path, known: set[str]) -> set[str]:
    """The files of the model, or modules from elsewhere, that a file imports, wherever the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and node.level == 0, f"{file}: a relative import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in inside}
    return names


FILES = _files()
GRAPH = {name: _imports(file, set(FILES)) for name, file in FILES.items()}


def room(module: str) -> str:
    return module.split(".")[2]


def floor(module: str) -> int:
    return next(height for height, rooms in enumerate(FLOORS) if room(module) in rooms)


def test_the_scan_sees_what_is_there() -> None:
    assert {"bevlite.latency.gpu.timing", "bevlite.latency.predictor", "bevlite.latency.onnx.graph"} <= set(FILES)
    assert "bevlite.latency.gpu.tiles" in GRAPH["bevlite.latency.gpu.timing"]


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in FILES if module != HOUSE} == set().union(*FLOORS)


@pytest.mark.parametrize("module", sorted(set(FILES) - {HOUSE}))
def test_no_import_runs_back_up(module: str) -> None:
    for imported in GRAPH[module] & set(FILES):
        below = floor(imported) < floor(module)
        assert below or room(imported) == room(module), f"{module} imports {imported}"


def test_no_circle_of_imports() -> None:
    try:
        order = list(TopologicalSorter({name: names & set(FILES) for name, names in GRAPH.items()}).static_order())
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {' -> '.join(error.args[1])}")
    assert order.index("bevlite.latency.gpu.ceilings") < order.index("bevlite.latency.gpu.tiles")


def test_the_model_knows_no_backend_of_the_benchmarks() -> None:
    assert [(m, n) for m, names in GRAPH.items() for n in names if n.split(".")[0] in ("benchmarks", "inductor")] == []
