"""What exists in the packages, read from their source: files, modules, and names in them. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def module_file(name: str) -> Path | None:
    """The file or the folder of a module of this repository, by its dotted name."""
    place = ROOT.joinpath(*name.split("."))
    if (file := place.with_suffix(".py")).is_file():
        return file
    return (place / "__init__.py" if (place / "__init__.py").is_file() else place) if place.is_dir() else None


def _names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Names that statements bind, with the statement."""
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found = (name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            yield from ((name.id, node) for name in found)
        elif isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _names([*node.body, *getattr(node, "orelse", [])])


def _lazy(tree: ast.Module) -> set[str]:
    """Names that a module gives through `__getattr__`: the texts in it."""
    if not any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body):
        return set()
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@cache
def _bound(file: Path) -> tuple[dict[str, ast.stmt], set[str]]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return dict(_names(tree.body)), _lazy(tree)


def exists(dotted: str) -> bool:
    """Whether `package.module.name` is a module of this repository, a name in one, or an attribute of such a class."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        file = module_file(".".join(parts[:count]))
        if file is None:
            continue
        rest = parts[count:]
        if not rest:
            return True
        if not file.is_file():
            return False
        bound, lazy = _bound(file)
        if rest[0] in lazy and len(rest) == 1:
            return True
        node = bound.get(rest[0])
        if node is None:
            return False
        return len(rest) == 1 or (isinstance(node, ast.ClassDef) and rest[1] in dict(_names(node.body)))
    return False


def path_exists(path: str) -> bool:
    """Whether a file or folder is there; `*` and `<name>` stand for any."""
    if "*" in path:
        return any(ROOT.glob(path))
    return (ROOT / path).exists()


def imports_of(file: Path) -> Iterator[str]:
    """Dotted names of what a file imports, also inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
