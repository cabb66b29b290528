"""Patience with boards that are away, by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from search.latency.log import NoBoard, NoLatency
from search.latency.waiting import Patience
from tests.search.waiting import OwnClock


def answering_after(attempts: int, error: Exception) -> Callable[[], str]:
    left = iter(range(attempts))

    def attempt() -> str:
        if next(left, None) is not None:
            raise error
        return "here"

    return attempt


def test_a_board_that_comes_back_is_waited_for_and_that_is_said_once() -> None:
    clock, said = OwnClock(), list[str]()
    patience = Patience(100.0, said.append, clock)
    assert patience.until_answered(answering_after(3, NoBoard("no board answers"))) == "here"
    assert clock.slept == [30.0, 30.0, 30.0]
    assert said == ["no board answers; waiting for up to 100 s"]


def test_one_that_does_not_is_given_up_when_the_time_is_over() -> None:
    clock = OwnClock()
    with pytest.raises(NoBoard, match="no board answers"):
        Patience(45.0, lambda text: None, clock).until_answered(answering_after(99, NoBoard("no board answers")))
    assert clock.slept == [30.0, 15.0]


@pytest.mark.parametrize(
    "error", [NoBoard("no trtexec", passes=False), NoLatency("not alike"), ValueError("a fault of ours")]
)
def test_what_time_does_not_mend_is_not_waited_for(error: Exception) -> None:
    clock, said = OwnClock(), list[str]()
    with pytest.raises(type(error)) as caught:
        Patience(45.0, said.append, clock).until_answered(answering_after(1, error))
    assert caught.value is error and not clock.slept and not said


def test_no_patience() -> None:
    clock, said = OwnClock(), list[str]()
    with pytest.raises(NoBoard):
        Patience(0.0, said.append, clock).until_answered(answering_after(1, NoBoard("away")))
    assert not clock.slept and not said
