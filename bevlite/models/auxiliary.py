"""Auxiliary results: what a part hands out beside its map in training, and the loss that each has.

A part's configuration declares the names of its auxiliary losses with the weights that a recipe starts from
(`PartConfig.auxiliary`); the part hands the results out where it computes them, and its `auxiliaries` say how each is
taught.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from bevlite.data.frame import Reader

_RESULTS: ContextVar[dict[str, Tensor] | None] = ContextVar("auxiliary results", default=None)


class AuxiliaryLoss(ABC):
    """How one auxiliary result is taught."""

    name: str

    @property
    @abstractmethod
    def truth(self) -> Reader:
        """What it is taught with."""

    @abstractmethod
    def __call__(self, result: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """The loss, not weighted."""


def hand_out(name: str, result: Tensor) -> None:
    """Called by a part: its auxiliary result, for whoever collects (a whole network; no exported module does)."""
    found = _RESULTS.get()
    if found is not None:
        found[name] = result


def collecting() -> bool:
    """Whether somebody collects, so that a part need not make what nobody takes."""
    return _RESULTS.get() is not None


@contextmanager
def collected() -> Iterator[dict[str, Tensor]]:
    """Inside, and in this thread alone, auxiliary results are collected by name."""
    results: dict[str, Tensor] = {}
    before = _RESULTS.set(results)
    try:
        yield results
    finally:
        _RESULTS.reset(before)
