"""A test is slow by what it does, however deep in the helpers of the tests that is."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bevlite.simulation.jetson.board import EmulatedBoard
from tests.speeds import is_slow


def served(board: Any) -> Any:
    return board.serve()


@contextmanager
def a_board(board: Any) -> Iterator[Any]:
    with served(board) as server:
        yield server


class Helper:
    def start(self, board: Any) -> Any:
        with a_board(board) as server:
            return server


def directly(board: Any) -> None:
    with board.serve():
        pass


def by_a_helper(board: Any) -> None:
    with a_board(board):
        pass


def by_a_class(board: Any) -> None:
    Helper().start(board)


def inside(board: Any) -> list[Any]:
    return [(lambda b: b.serve())(b) for b in [board]]


def quick(board: Any) -> None:
    functools.reduce(lambda a, b: a + b, [1, 2])
    quick(board)  # a helper that calls itself is looked at once


@pytest.mark.parametrize("function", [directly, by_a_helper, by_a_class, inside], ids=lambda f: f.__name__)
def test_what_serves_a_board_is_slow(function: Any) -> None:
    assert is_slow([function]) and is_slow([quick, function])


def test_what_does_not_is_fast() -> None:
    assert not is_slow([quick]) and not is_slow([test_what_does_not_is_fast, len])


def test_a_board_is_not_served_by_a_fast_test(tmp_path: Path) -> None:
    way_round = getattr(EmulatedBoard.create(tmp_path / "board"), "ser" + "ve")
    with pytest.raises(pytest.fail.Exception, match="has to be marked slow"):
        way_round()
