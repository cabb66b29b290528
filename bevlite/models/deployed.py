"""The form in which a network is deployed: static shapes, and outputs as engines give them.

Training takes shorter ways with shapes that depend on the data. A part that has two forms asks `is_deployed`; whoever
exports, or runs on torch what the engines would run, calls it inside `deployed_form`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_DEPLOYED = ContextVar("deployed", default=False)


def is_deployed() -> bool:
    """Whether the caller must take its deployed form."""
    return _DEPLOYED.get()


@contextmanager
def deployed_form() -> Iterator[None]:
    """Inside, and in this thread alone, every part takes its deployed form."""
    before = _DEPLOYED.set(True)
    try:
        yield
    finally:
        _DEPLOYED.reset(before)
