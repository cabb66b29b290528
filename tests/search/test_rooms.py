"""The rooms of the search: who may import whom, read from every file, lazy and typing-only imports included."""

from __future__ import annotations

import ast
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.test_architecture import ROOT

ORDER = ("terminal", "latency", "space", "model", "config", "scan", "study", "report", "api", "cli")
"""From the bottom to the top: a room imports those before it, and none after it."""
LONGEST = 400


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=1)
def imports() -> dict[str, set[str]]:
    """Every file of the search by module name, with the files of the search that it imports anywhere."""
    files = {name_of(file): file for file in (ROOT / "search").rglob("*.py")}
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, file in files.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                asked = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                asked = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for one in asked:
                # `from search.a import b` names the file a/b.py, or b in the file a.py.
                known = next((m for m in (one, one.rpartition(".")[0]) if m in files), None)
                assert known or not one.startswith("search."), f"{name} imports {one}, which no file gives"
                if known is not None and known != name:
                    found[name].add(known)
    return found


def room(module: str) -> str:
    return module.split(".")[1]


def rooms() -> dict[str, set[str]]:
    """What each room imports of the others."""
    graph: dict[str, set[str]] = {}
    for module, names in imports().items():
        if module != "search":
            own = room(module)
            graph.setdefault(own, set()).update(room(n) for n in names if n != "search" and room(n) != own)
    return graph


def test_the_scan_sees_what_is_there() -> None:
    assert {"search.study.store", "search.config"} <= imports()["search.study.study"]
    assert "search.api" in imports()["search"]  # a typing-only and a lazy import
    assert "search.report.report" in imports()["search.api"]  # a lazy one


def test_every_room_has_its_place() -> None:
    assert set(rooms()) == set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_no_import_runs_back_up(name: str) -> None:
    above = set(ORDER[ORDER.index(name) + 1 :])
    assert not rooms()[name] & above


def test_no_circle_between_files() -> None:
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as error:
        pytest.fail(f"files import each other in a circle: {' -> '.join(error.args[1])}")


def test_nobody_inside_asks_the_package_for_what_it_offers() -> None:
    assert [name for name, names in imports().items() if "search" in names] == []


def test_the_command_line_is_nobodys() -> None:
    assert [name for name, names in imports().items() if "search.cli" in names] == []


def test_files_have_one_job() -> None:
    lines = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / "search").rglob("*.py")}
    assert {str(file): count for file, count in lines.items() if count > LONGEST} == {}
