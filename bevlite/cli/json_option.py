"""`--json FILE` of every command that has one, and `--json -`: the JSON alone on stdout, everything else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

from bevlite.errors import BevliteError

if TYPE_CHECKING:
    from pydantic import BaseModel

STDOUT = "-"
_KEPT = "stdout.json"
"""Under which name a command writes what then goes to stdout."""


def json_option(help: str = "Also write it there; - for stdout, alone.") -> Any:
    """The option `--json FILE` of a command, a Path or None."""
    return typer.Option(None, "--json", metavar="FILE", help=help, callback=_chosen, show_default=False)


def write_json(path: Path | None, report: BaseModel) -> None:
    """Write a report as JSON, whole or not at all, where a file was asked for."""
    if path is not None:
        from bevlite.config import write_atomic  # loads pydantic and YAML

        write_atomic(path, report.model_dump_json(indent=2) + "\n")


def written(*files: Path | None) -> None:
    """Say which files were written, of those that were asked for."""
    for file in files:
        if file is not None and file.name != _KEPT:
            typer.echo(f"written: {file}")


def require_writable(path: Path | None) -> None:
    """Refuse a path that cannot become a file before the work is done (raises BevliteError)."""
    if path is None:
        return
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not above.is_dir():
        raise BevliteError(f"{path}: no file can be written there; accepted: the path of a file")


def _chosen(context: typer.Context, path: Path | None) -> Path | None:
    if path is None or context.resilient_parsing:
        return path
    if str(path) == STDOUT:
        return context.with_resource(_on_stdout())
    require_writable(path)
    return path


@contextmanager
def _on_stdout() -> Iterator[Path]:
    """A file to write to, whose content is all that stdout gets in the end."""
    with TemporaryDirectory(prefix="bevlite-json-") as folder:
        file = Path(folder) / _KEPT
        with redirect_stdout(sys.stderr):
            yield file
        if file.is_file():
            sys.stdout.write(file.read_text(encoding="utf-8"))
            sys.stdout.flush()
