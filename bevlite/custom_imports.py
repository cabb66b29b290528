"""`custom_imports`: modules and files that are imported before a variant is read, because parts register in them.

A name is a module that Python finds; what ends in `.py` is a file, relative to the configuration that names it. A file
is imported under its own name with its folder last on Python's path, so that processes which are started later find
its classes again, and so that it can hide no module that is there already.

What a run folder holds is never run: runs are handed on, and what comes with one is data.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from bevlite.errors import ConfigError
from bevlite.plain_yaml import short

KEY = "custom_imports"
MOST = 32
"""Entries of one configuration."""
_OF_A_RUN = ("variant.yaml", "environment.json", "checkpoints")
"""What a folder has that looks like a run."""
ACCEPTED = "accepted: names of modules, and .py files relative to this one"


def anchored(given: Any, folder: Path) -> Any:
    """What stands under the key with its files relative to `folder`; what is nothing of the kind as it is."""
    if isinstance(given, str):
        return str((folder / given).absolute()) if given.endswith(".py") else given
    if isinstance(given, list):
        return [anchored(one, folder) for one in given]
    if isinstance(given, dict) and "imports" in given:
        return {**given, "imports": anchored(given["imports"], folder)}
    return given


def with_imports(data: Mapping[str, Any], source: str, run: Path | None = None) -> dict[str, Any]:
    """Import what a configuration names; the configuration with the key as a list, files by their full path.

    Args:
        data: the configuration as it was read.
        source: names it in an error.
        run: the run folder that it was read from, if it was.

    Raises:
        ConfigError: an entry is no module or file, is not found, lies in a run, or raises while it is imported.
    """
    if data.get(KEY) is None:
        return {key: value for key, value in data.items() if key != KEY}
    where = f"{short(source)}: {KEY}"
    entries = [anchored(entry, Path()) for entry in _entries(data[KEY], where)]
    require_outside(entries, run, where)
    for entry in entries:
        if entry.endswith(".py"):
            _import_file(Path(entry), where)
        else:
            _import(entry, where)
    return {**data, KEY: entries}


def require_outside(entries: Iterable[str], run: Path | None, where: str) -> None:
    """Refuse files that lie in a run: in this one, or in a folder that looks like one (raises ConfigError)."""
    for entry in (entry for entry in entries if entry.endswith(".py")):
        around = {*Path(entry).absolute().parents, *Path(os.path.realpath(entry)).parents}
        runs = [folder for folder in around if _is(folder, run) or all((folder / name).exists() for name in _OF_A_RUN)]
        if runs:
            said = f"{where}: {short(entry)} lies in the run {short(str(runs[0]))}"
            raise ConfigError(f"{said}; accepted: a file outside of run folders")


def _is(folder: Path, run: Path | None) -> bool:
    return run is not None and folder in (run.absolute(), run.resolve())


def _entries(given: Any, where: str) -> list[str]:
    """The names, from a list, from one name, or from `{imports: ..., allow_failed_imports: false}`."""
    if isinstance(given, Mapping):
        unknown = [key for key in given if key not in ("imports", "allow_failed_imports")]
        if unknown:
            raise ConfigError(
                f"{where}: {short(str(unknown[0]))}: unknown key; accepted: imports, allow_failed_imports"
            )
        if given.get("allow_failed_imports", False) is not False:
            raise ConfigError(f"{where}: allow_failed_imports: accepted: false; what fails is said at once")
        given = given.get("imports", [])
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or len(names) > MOST:
        raise ConfigError(
            f"{where}: found {short(str(given))}; accepted: a list of at most {MOST} modules or .py files"
        )
    for name in names:
        if not isinstance(name, str) or "\0" in name or not (name.endswith(".py") or _is_name(name)):
            raise ConfigError(f"{where}: found {short(repr(name))}; {ACCEPTED}")
    return list(names)


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _import_file(file: Path, where: str) -> None:
    """Import a file under its own name, which no other module may have."""
    said = short(str(file))
    try:
        found = file.is_file()
    except OSError:  # a name that is too long
        found = False
    if not found:
        raise ConfigError(f"{where}: {said}: no such file; {ACCEPTED}")
    real, name = file.resolve(), file.stem
    if not name.isidentifier():
        raise ConfigError(f"{where}: {said}: the file's name is no name of a module; accepted: letters, digits and _")
    folder = str(real.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    known = sys.modules.get(name)
    origin = _file_of(known) if known is not None else _origin(name)
    if origin is None or Path(origin).resolve() != real:
        raise ConfigError(f"{where}: {said}: another module is called '{name}' already; accepted: another file name")
    _import(name, where)


def _origin(name: str) -> str | None:
    importlib.invalidate_caches()  # the file may be younger than what Python remembers of its folder
    spec = importlib.util.find_spec(name)
    return spec.origin if spec is not None else None


def _file_of(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def _import(name: str, where: str) -> None:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigError(
                f"{where}: no module '{short(name)}'; accepted: one that is installed or on PYTHONPATH, or a .py file"
            ) from error
        raise ConfigError(f"{where}: {short(name)} needs a module '{short(missing)}', which is not there") from error
    except (Exception, SystemExit) as error:  # whatever a foreign module raises becomes one line that names it
        said = " ".join(str(error).split()) or "without a word"
        raise ConfigError(
            f"{where}: {short(name)} raises {type(error).__name__}: {short(said)}{_line(error, name)}"
        ) from error


def _line(error: BaseException, name: str) -> str:
    """Where in the module it was raised."""
    own = _file_of(sys.modules[name]) if name in sys.modules else None
    trace, line = error.__traceback__, None
    while trace is not None:
        if (own or f"{name.rpartition('.')[2]}.py") in trace.tb_frame.f_code.co_filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {line})" if line is not None else ""
