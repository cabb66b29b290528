"""Which tests are slow: told from what they do, so that nobody has to remember a mark.

`make test` leaves out what is marked `slow`. A test gets that mark when it, one of its fixtures, or a helper of the
tests that they call names one of `SLOW`; a file or a test may also say so itself with `pytest.mark.slow`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

SLOW = {
    "serve": "a board that answers over ssh, or a database",
    "Popen": "a program that is started, disturbed and waited for",
    "run_workers": "a search by several processes",
}


def is_slow(functions: list[Callable[..., Any]]) -> bool:
    """Whether a test is slow, given its own function and those of its fixtures."""
    seen: set[CodeType] = set()
    return any(SLOW.keys() & set(_names(function, seen)) for function in functions)


def _names(thing: Any, seen: set[CodeType]) -> Iterator[str]:
    """Every name that a function or class of the tests uses, and those that the helpers behind these names use."""
    if isinstance(thing, type):
        for member in vars(thing).values():
            yield from _names(member, seen)
        return
    function = inspect.unwrap(getattr(thing, "fget", None) or getattr(thing, "__func__", thing))
    if not isinstance(function, FunctionType) or function.__code__ in seen:
        return
    if not function.__module__.startswith("tests."):  # what the product itself calls is its own affair
        return
    seen.add(function.__code__)
    for name in _used(function.__code__):
        yield name
        yield from _names(function.__globals__.get(name), seen)


def _used(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a lambda, a comprehension, a function inside
            yield from _used(constant)
