"""Files, modules and names that documents, docstrings and comments speak of are there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevlite.registry import ENTRY_POINTS
from tests.existing_names import ROOT, exists, imports_of, path_exists

DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])
SOURCES = sorted(file for top in ("bevlite", "search") for file in (ROOT / top).rglob("*.py"))
SCRIPTS = sorted((ROOT / "benchmarks").rglob("*.py"))
GROUPS = (ENTRY_POINTS, "bevlite.commands")
_PATH = re.compile(r"(?<![\w./-])(?:bevlite|search|tests|benchmarks|configs|docs|examples)/(?:[\w.*<>{},-]+/?)+")
_DOTTED = re.compile(r"(?<![\w./-])(?:bevlite|search)(?:\.[A-Za-z_]\w*)+(?![\w/-])")
_IMPORT = re.compile(r"^\s*from ((?:bevlite|search)[\w.]*) import ([\w, ]+)", re.MULTILINE)
_FILE = re.compile(r"`((?:[A-Za-z_]\w*/)*[a-z_]\w*\.py)`")
_TREE = re.compile(r"^( *)(\w+(?:\.py)?/?(?:, \w+(?:\.py)?/?)*)(?:   .*|  \w.*)?$")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TICKED = re.compile(r"`([^`\n]+)`")


def document_text(text: str) -> str:
    """What a document says in code: fenced blocks, and what stands in backticks."""
    fenced = _FENCE.findall(text)
    return "\n".join([*fenced, *(f"`{found}`" for found in _TICKED.findall(_FENCE.sub("", text)))])


def source_text(source: str) -> str:
    """Docstrings and comments of a file (a text that stands alone behind a name is one too)."""
    alone = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*alone, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def is_other(name: str) -> bool:
    """Whether a dotted name is a file of a user, or a group of entry points."""
    return name.endswith((".yaml", ".json", ".html", ".csv")) or name in GROUPS


def missing(text: str) -> Iterator[str]:
    """Paths and dotted names of this repository in a text that are not there."""
    for match in _PATH.finditer(text):
        path = match[0].rstrip(".,/")
        if not path_exists(re.sub(r"<[^>]*>", "*", path)):
            yield path
    for match in _FILE.finditer(text):
        places = (match[1], *(f"{top}/**/{match[1]}" for top in ("bevlite", "search", "tests", "benchmarks")))
        if not any(map(path_exists, places)):
            yield match[1]
    for match in _DOTTED.finditer(text):
        if not exists(match[0]) and not is_other(match[0]):
            yield match[0]
    for module, names in _IMPORT.findall(text):
        for name in names.split(","):
            if name.strip() and not exists(f"{module}.{name.split(' as ')[0].strip()}"):
                yield f"{module}.{name.strip()}"


def test_the_search_for_names_finds_what_is_wrong() -> None:
    assert list(missing("bevlite/config.py, bevlite.config.Config.x docs/<name>.md tests/*.py (bevlite.config)")) == [
        "bevlite.config.Config.x"
    ]
    text = "see `bevlite/nothing.py`, search.nothing, bevlite.config.nothing\n```\nfrom bevlite.config import Nil\n```"
    assert set(missing(document_text(text))) == {"bevlite/nothing.py", "bevlite.config.Nil"}
    assert set(missing(text)) == {
        "bevlite/nothing.py",
        "bevlite.config.Nil",
        "search.nothing",
        "bevlite.config.nothing",
    }
    assert list(missing("`world/scene.py`, `scene.py`, `deploy/scene.py`, `no_such.py`")) == [
        "deploy/scene.py",
        "no_such.py",
    ]
    assert source_text('"""One."""\nx = "no"  # two\n"""Three."""\n') == "One.\nThree.\n# two"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_documents_name_is_there(file: Path) -> None:
    assert sorted(set(missing(document_text(file.read_text(encoding="utf-8"))))) == []


def house(text: str) -> Iterator[str]:
    """Paths of the folders and files that the drawing of the house in a document shows, by its indents."""
    rooms: dict[int, str] = {}
    for line in _FENCE.findall(text)[0].splitlines()[1:-1]:
        found = _TREE.match(line)
        if found is None:
            continue
        indent = len(found[1])
        above = next((rooms[i] for i in sorted(rooms, reverse=True) if i < indent), "")
        for name in found[2].split(", "):
            yield above + name
            if name.endswith("/"):
                rooms = {i: room for i, room in rooms.items() if i < indent} | {indent: above + name}


def test_the_drawing_of_the_house_is_true() -> None:
    """Every folder and file in it is there, and every room of the library and of the search is in it."""
    drawn = list(house((ROOT / "docs" / "design.md").read_text(encoding="utf-8")))
    there = [path for path in drawn if path_exists(path) or path_exists(f"{path}.py")]
    assert [path for path in drawn if path not in there] == []
    rooms = {
        f"{f.parent.relative_to(ROOT)}/" for top in ("bevlite", "search") for f in ROOT.glob(f"{top}/*/__init__.py")
    }
    assert rooms <= set(drawn)


def test_what_docstrings_and_comments_name_is_there() -> None:
    assert len(SOURCES) > 80
    found = {
        str(f.relative_to(ROOT)): sorted(set(missing(source_text(f.read_text(encoding="utf-8"))))) for f in SOURCES
    }
    assert {file: names for file, names in found.items() if names} == {}


def test_what_benchmarks_import_is_there() -> None:
    """Nobody runs them with the tests: a name that moved would be noticed by whoever measures next."""
    ours = ("bevlite.", "search.")
    found = {f.name: [n for n in imports_of(f) if n.startswith(ours) and not exists(n)] for f in SCRIPTS}
    assert len(found) > 20 and {file: names for file, names in found.items() if names} == {}
