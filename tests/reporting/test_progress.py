"""Progress: in a log a line now and then and no more, on a terminal a bar; nothing of what is over at once."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest

from bevlite.reporting import progress as module
from bevlite.reporting.progress import Pulse, duration, how_far, progress
from tests.waits import PATIENCE_S


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (9, "0:09"), (59.6, "1:00"), (750, "12:30"), (11100, "3:05:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_how_far() -> None:
    """A fifth took 65 s: four times that is left."""
    assert how_far("evaluate", 120, 600, 65) == "evaluate: 120 of 600 (20 %), 1:05 so far, about 4:20 to go"
    assert how_far("evaluate", 0, 600, 65) == "evaluate: 0 of 600 (0 %), 1:05 so far"
    assert how_far("reading", 0, 0, 5) == "reading: 0:05 so far"


def wait_until(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_pulse_says_a_line_in_every_silence_and_none_after_the_end() -> None:
    said: list[float] = []
    began = time.monotonic()
    with Pulse(lambda: "x", lambda _: said.append(time.monotonic() - began), 0.05, 0.05):
        wait_until(lambda: len(said) >= 3)
    count = len(said)
    gaps = [b - a for a, b in zip([0.0, *said], said, strict=False)]
    assert all(gap >= 0.045 for gap in gaps), gaps
    time.sleep(0.12)
    assert len(said) == count


def test_a_pulse_is_silent_while_others_speak() -> None:
    """However slow the machine is: no line comes sooner after a word of anybody than the silence that it waits for."""
    said: list[float] = []
    words: list[float] = []
    with Pulse(lambda: "x", lambda _: said.append(time.monotonic()), 0.1, 0.1) as pulse, Pulse(str, str, 60) as other:
        wait_until(lambda: len(said) == 1)  # from its second line on it waits for others as well
        for number in range(10):
            words.append(time.monotonic())
            (pulse if number % 2 else other).beat()
            time.sleep(0.04)
        wait_until(lambda: said[-1] > words[-1])
    for line in said[1:]:
        assert not [word for word in words if 0.02 < line - word < 0.09]  # within 0.02 s both may speak at once


def test_a_line_that_cannot_be_made_ends_nothing() -> None:
    tries: list[int] = []

    def line() -> str:
        tries.append(1)
        raise RuntimeError("the study is being made")

    with Pulse(line, lambda _: None, 0.01, 0.01):
        wait_until(lambda: len(tries) > 2)


def test_in_a_log(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("quick") as work:
        work(1, 2)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(module, "FIRST_S", 0.05)
    heard = ""
    with progress("slow") as work:
        work(3, 12)
        while not heard:
            time.sleep(0.01)
            heard = capsys.readouterr().err
        work.at("predicting")
        assert work.words == "predicting: 0:00 so far"
    assert heard.startswith("  slow: 3 of 12 (25 %), 0:00 so far")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with progress("quick"):
        pass
    assert screen.getvalue() == ""
    monkeypatch.setattr(module, "FIRST_S", 0.01)
    with progress("slow") as work:
        work(3, 12)
        wait_until(lambda: "slow" in screen.getvalue() and "3/12" in screen.getvalue())
