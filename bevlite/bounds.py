"""Bounds of the numbers of every configuration, where a field states none of its own.

No setting, size or figure of ours is NaN, infinite or absurdly large; what is comes from a slip of the pen, and is
refused where it is read, not hours later by an empty memory. `Config` puts these bounds on each of its numbers, inside
tuples, lists, dicts and unions as well. A field that needs more says so: by its own `le` or `ge`, by `AnyFinite`, or
for NaN and infinity by `Field(allow_inf_nan=True)`, which has no bounds at all.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import core_schema

LARGEST_WHOLE = 10**10
"""Of a whole number: every seed of 32 bits fits, and no count or size of ours comes near."""
LARGEST = 1e15
"""Of any other number: operations of a network and the bytes that it moves fit."""

AnyFinite = Annotated[float, Field(ge=-sys.float_info.max, le=sys.float_info.max)]
"""A number that may be as large as it likes, such as the error of a broken engine."""

# What holds no schema of a value that is read; a default may look like one.
_NO_SCHEMA = {"default", "metadata", "serialization", "config", "cls", "ref", "expected"}


def set_bounds(schema: Any, owner: type) -> None:
    """Put the default bounds on every number of one configuration class.

    Args:
        schema: what pydantic made of the class, changed in place. Doing it twice changes nothing.
        owner: the class. Other configurations inside it are left alone: each has its own turn.
    """
    if isinstance(schema, (list, tuple)):
        for part in schema:
            set_bounds(part, owner)
        return
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    another = kind == "model" and schema["cls"] is not owner
    if another or (kind == "function-after" and schema["function"]["function"] is refuse_absurd):
        return
    if kind == "int":
        _limit(schema, LARGEST_WHOLE)
    elif kind == "float" and not schema.get("allow_inf_nan"):
        schema["allow_inf_nan"] = False
        _limit(schema, LARGEST)
    elif kind == "any":
        checked = core_schema.no_info_after_validator_function(refuse_absurd, core_schema.any_schema())
        schema.update(checked)
    elif kind in ("model-fields", "typed-dict", "tagged-union"):
        # By the names of fields and members, which may be called like anything.
        for name in ("fields", "choices"):
            for part in schema.get(name, {}).values():
                set_bounds(part, owner)
    else:
        for name, part in schema.items():
            if name not in _NO_SCHEMA:
                set_bounds(part, owner)


def _limit(schema: dict[str, Any], largest: float) -> None:
    if "le" not in schema and "lt" not in schema:
        schema["le"] = largest
    if "ge" not in schema and "gt" not in schema:
        schema["ge"] = -largest


def refuse_absurd(value: Any) -> Any:
    """A value of any type, as it is.

    Raises:
        ValueError: a number in it (in mappings and lists as well) is not finite or larger than `LARGEST`.
    """
    for path, number in _numbers(value):
        if not (math.isfinite(number) and abs(number) <= LARGEST):
            where = f" in {path}" if path else ""
            raise ValueError(f"found {number:g}{where}; accepted: finite numbers up to {LARGEST:g}")
    return value


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number in plain data, with its keys."""
    if isinstance(value, int) and not isinstance(value, bool):
        # Longer integers than a float takes are as good as infinite.
        yield path, float(value) if abs(value) <= sys.float_info.max else (math.inf if value > 0 else -math.inf)
    elif isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(part, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _numbers(part, f"{path}.{index}".removeprefix("."))
