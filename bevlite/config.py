"""Typed YAML: load with `_base_`, override with `--set a.b=c`, hash, and one-line errors.

Every configuration of BEVLite is a frozen pydantic model with `extra="forbid"`. A file may name one or
several `_base_` files (relative to itself); mappings merge key by key, everything else replaces. A mapping
whose `type:` differs from its base's `type:` replaces it whole, because the keys of one part mean nothing to
another; `_delete_: true` forces that.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails

from bevlite.bounds import set_bounds
from bevlite.custom_imports import KEY, anchored, with_imports
from bevlite.errors import ConfigError
from bevlite.plain_yaml import LARGEST, PlainYamlError, load_plain, short


class Config(BaseModel):
    """Base of every configuration: immutable, an unknown key is an error, and every number has finite bounds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        set_bounds(handler.resolve_ref_schema(schema), cls)
        return schema


C = TypeVar("C", bound=BaseModel)
CONFIGS = Path(__file__).resolve().parent / "configs"
"""The configurations that come with BEVLite: devices, recipes, searches, variants."""


def merge(base: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `child` over `base`, mapping by mapping (see the module's docstring for `type:` and `_delete_`)."""
    replace = child.get("_delete_", False) or ("type" in child and "type" in base and child["type"] != base["type"])
    merged: dict[str, Any] = {} if replace else dict(base)
    for key, value in child.items():
        if key == "_delete_":
            continue
        if isinstance(value, Mapping):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def read_yaml(path: str | os.PathLike[str], _stack: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read one YAML mapping and everything that its `_base_` names.

    Raises:
        ConfigError: the file is missing, is not a mapping, is not YAML, or its `_base_` chain has a cycle.
    """
    file = Path(path)
    shown = short(str(file))
    try:
        if file.resolve() in _stack:
            raise ConfigError(f"{shown}: _base_: the files name each other in a circle; accepted: a chain with an end")
        if file.is_file() and file.stat().st_size > 4 * LARGEST:
            raise ConfigError(f"{shown}: found {file.stat().st_size} bytes; accepted: at most {LARGEST} characters")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{shown}: no such file; accepted: the path of a YAML file") from None
    except (OSError, ValueError, RuntimeError) as error:  # no text, NUL in a name, links in a circle
        raise ConfigError(f"{shown}: cannot be read ({short(str(error))}); accepted: a UTF-8 YAML file") from None
    try:
        data = load_plain(text)
    except PlainYamlError as error:
        raise ConfigError(f"{file}: not valid YAML ({error})") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: found {_brief(data)} at the top; accepted: a mapping of keys")
    if KEY in data:
        data[KEY] = anchored(data[KEY], file.parent)
    bases = data.pop("_base_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(b, str) for b in bases):
        raise ConfigError(f"{file}: _base_: found {_brief(bases)}; accepted: a file name or a list of them")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = merge(merged, read_yaml(file.parent / base, (*_stack, file.resolve())))
    return merge(merged, data)


def apply_overrides(data: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Apply `a.b=c` settings; the value is read as YAML, so `null`, numbers, lists and mappings work.

    Raises:
        ConfigError: a setting is not of the form KEY=VALUE.
    """
    merged = dict(data)
    for setting in overrides:
        key, equals, text = setting.partition("=")
        if not equals or not key or any(not part for part in key.split(".")):
            raise ConfigError(f"--set {short(setting)}: found no KEY=VALUE; accepted: a.b=c")
        try:
            value = load_plain(text)
        except PlainYamlError:
            raise ConfigError(f"--set {short(setting)}: found a value that is not YAML; accepted: a.b=c") from None
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        merged = merge(merged, nested)
    return merged


def validate(data: Mapping[str, Any], model: type[C], source: str) -> C:
    """Validate a mapping as `model`; `source` names the file in the error.

    Raises:
        ConfigError: with one line that names file, key, what was found and what is accepted.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, model)}") from None


def load_config(path: str | os.PathLike[str], model: type[C], overrides: Iterable[str] = ()) -> C:
    """Read, override and validate one configuration file (raises ConfigError)."""
    return validate(apply_overrides(read_yaml(path), overrides), model, str(path))


def import_parts(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> None:
    """Import what a variant file names, before a recipe is read that weighs the losses of such parts.

    Raises:
        ConfigError: the file is wrong, or what it names cannot be imported.
    """
    with_imports(apply_overrides(read_yaml(path), overrides), str(path))


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Turn pydantic's report into one line: the first problem, and how many more there are."""
    problems = error.errors(include_url=False)
    first = _telling(problems)
    path, accepted = _locate(model, first["loc"])
    key = ".".join(path)
    found = _brief(first.get("input"))
    kind = first["type"]
    context: dict[str, Any] = first.get("ctx") or {}
    message = f"{first['msg'][0].lower()}{first['msg'][1:]}"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(path[-1], accepted, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        line = f"{key}: unknown key{hint}; accepted: {', '.join(accepted) or 'no further key'}"
    elif kind == "missing":
        line = f"{key}: missing; accepted: this key must be given"
    elif kind == "literal_error":
        line = f"{key}: found {found}; accepted: {context.get('expected')}"
    elif kind == "union_tag_invalid":
        line = f"{key}.type: found '{context.get('tag')}'; accepted: {context.get('expected_tags')}"
    elif kind == "union_tag_not_found":
        line = f"{key}.type: missing; accepted: this key must be given"
    elif kind == "value_error":
        text = str(context.get("error", message))
        line = f"{key}: {text}" if key else text
    else:
        line = f"{key or 'the file'}: found {found}; accepted: {message.removeprefix('input should be ')}"
    return line if len(problems) == 1 else f"{line} (and {len(problems) - 1} more)"


def _telling(problems: list[ErrorDetails]) -> ErrorDetails:
    """The first problem; of a union that takes text or a mapping, and was given a mapping, what is wrong in it."""
    first = problems[0]
    place = first["loc"][:-1]
    if first["loc"] and _is_plain_type(first["loc"][-1]):
        inside = (p for p in problems if p["loc"][: len(place)] == place and len(p["loc"]) > len(first["loc"]))
        return next(inside, first)
    return first


def _is_plain_type(part: int | str) -> bool:
    """Whether a part of a location is what pydantic calls a member of a union, and no key of the file."""
    name = str(part).removeprefix("constrained-")
    return name in ("int", "float", "bool", "str") or (name.endswith("]") and not name.startswith("["))


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The keys as they stand in the file, and the keys accepted beside the last of them.

    In a union pydantic puts the tag of the chosen member into the location; it is no key of the file.
    """
    path: list[str] = []
    current: Any = model
    members: Mapping[str, Any] = {}
    accepted: list[str] = sorted(model.model_fields)
    for part in location:
        if part in members:
            current, members = members[str(part)], {}
            continue
        if path and part not in getattr(current, "model_fields", {}) and _is_plain_type(part):
            continue
        path.append(str(part))
        fields = getattr(current, "model_fields", {})
        accepted = sorted(fields)
        if part in fields:
            current = _submodel(fields[part].annotation)
            members = _members(fields[part])
        else:
            members = {}
    return path, accepted


def _members(field: Any) -> Mapping[str, Any]:
    """The registered members of a field whose annotation names a registry (see bevlite.registry)."""
    candidates = [*field.metadata]
    for argument in getattr(field.annotation, "__args__", ()):
        candidates.extend(getattr(argument, "__metadata__", ()))
    return next((c.members for c in candidates if hasattr(c, "members")), {})


def _submodel(annotation: Any) -> Any:
    """The pydantic model inside an annotation such as `Model | None` (the annotation itself if there is none)."""
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return annotation


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = f"'{text}'" if isinstance(value, str) else text
    return text if len(text) <= 60 else text[:57] + "..."


def as_dict(config: BaseModel) -> dict[str, Any]:
    """The configuration as plain JSON types, complete with its defaults."""
    return config.model_dump(mode="json")


def to_yaml(config: BaseModel | Mapping[str, Any]) -> str:
    """The configuration as YAML in the order of its definition."""
    data = as_dict(config) if isinstance(config, BaseModel) else dict(config)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None, width=100)


def stable_hash(content: BaseModel | Mapping[str, Any] | list[Any], length: int = 12) -> str:
    """A hash of the content that does not depend on key order, file, machine or process."""
    data = as_dict(content) if isinstance(content, BaseModel) else content
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:length]


STALE_S = 600.0
"""After which a temporary file is what a killed write left: no write takes that long."""
_swept: set[Path] = set()
"""Files beside which this process has looked for such."""


def write_atomic(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a whole file or none: to a temporary name beside it, then rename.

    What earlier writes of the same file have left that were killed is removed.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError:  # what /proc and its like say where no folder can be made
        raise PermissionError(errno.EACCES, "no folder can be made there", str(target.parent)) from None
    _sweep(target)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(target)  # a full disk does not say which file it was
        raise


def _sweep(target: Path) -> None:
    if target in _swept:
        return
    _swept.add(target)
    prefix = f".{target.name}."
    with suppress(OSError), os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and len(entry.name) == len(prefix) + 8:  # as mkstemp names them
                with suppress(OSError):
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > STALE_S:
                        os.unlink(entry.path)
