"""What follows from a fault: tried again on the same board, waited for, and how long; on a clock of the test's own."""

from __future__ import annotations

import pytest

from bevlite.devices.link import faults
from bevlite.devices.link.faults import DeviceFault, Verdict
from bevlite.devices.link.waiting import LONGEST_PAUSE_S, Attempts, Clock, Waiting
from bevlite.devices.settings import Limits


class Time:
    """Passes when somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.clock = Clock(lambda: sum(self.slept), self.slept.append)


def attempts_at(kind: type[DeviceFault], was_there: bool, limits: Limits) -> list[float]:
    """The pauses between attempts that all end in this fault."""
    time = Time()
    attempts = Attempts(limits, time.clock)
    fault = kind("board", "no")
    while attempts.again(fault, was_there):
        attempts.pause(fault)
    return time.slept


@pytest.mark.parametrize("kind", faults.FAULTS.values(), ids=lambda kind: kind.code)
def test_every_fault_is_tried_again_as_often_as_its_class_says(kind: type[DeviceFault]) -> None:
    limits = Limits(backoff_s=2.0, reconnect_s=300.0)
    assert attempts_at(kind, False, limits) == [2.0, 4.0, 8.0, 16.0][: kind.tries]


def test_a_board_that_was_there_is_waited_for_until_the_limit() -> None:
    pauses = attempts_at(faults.Unreachable, True, Limits(backoff_s=2.0, reconnect_s=300.0))
    assert pauses[:4] == [2.0, 4.0, 8.0, 16.0] and max(pauses) == LONGEST_PAUSE_S
    assert sum(pauses[:-1]) < 300.0 <= sum(pauses)
    assert attempts_at(faults.AuthRefused, True, Limits()) == [], "nobody lets us in by waiting"


def test_faults_of_two_kinds_count_apart_and_share_the_limit() -> None:
    time = Time()
    attempts = Attempts(Limits(backoff_s=2.0, reconnect_s=10.0), time.clock)
    lost, away = faults.ConnectionLost("board", "cut"), faults.Unreachable("board", "off")
    assert attempts.again(lost, True)
    attempts.pause(lost)
    for _ in range(2):
        assert attempts.again(away, True)
        attempts.pause(away)
    assert time.slept == [2.0, 2.0, 4.0]
    assert attempts.again(away, True)
    attempts.pause(away)
    assert not attempts.again(away, True), "10 s after the connection was lost"


def test_a_wait_pauses_no_longer_than_its_limit() -> None:
    time = Time()
    waiting = Waiting(70.0, time.clock)
    while not waiting.over:
        waiting.pause(30.0)
    assert time.slept == [30.0, 30.0, 10.0] and waiting.left_s == 0.0


def test_what_is_tried_again_is_no_fault_of_the_work_and_what_is_away_may_come_back() -> None:
    for kind in faults.FAULTS.values():
        assert not (kind.tries and kind.verdict in (Verdict.REJECT, Verdict.MEND)), kind.code
        assert not kind.away or (kind.ends_connection and kind.verdict is Verdict.WAIT), kind.code
