"""What a training says: the bar and the lines count epochs alike, and what is left follows from what was done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bevlite.training import words
from bevlite.training.words import EpochBar, Progress


class Clock:
    """Seconds as a test wants them."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(words, "time", found)
    return found


def test_what_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of four steps took 10 s: of three epochs another 50 s are left; then epochs that took 30 s and 40 s."""
    said = Progress(epochs=3, last_epoch=3, shown=True)
    said.epoch_began(0, 4)
    assert said.seconds_left is None and said.line() == "epoch 1/3  step 0/4  (0:00 so far)"
    clock.now += 10
    said.step_done(2)
    assert said.line() == "epoch 1/3  step 2/4  (0:10 so far, about 0:50 to go)"
    clock.now += 20
    said.epoch_done({"box": 0.5})
    assert capsys.readouterr().out == "epoch 1/3  box 0.500  (30.0 s, about 1:00 to go)\n"
    said.epoch_began(1, 4)
    clock.now += 40
    said.epoch_done({"box": 0.25})
    assert capsys.readouterr().out == "epoch 2/3  box 0.250  (40.0 s, about 0:35 to go)\n"
    said.epoch_began(2, 4)
    clock.now += 30
    said.epoch_done({"box": 0.125})
    assert capsys.readouterr().out == "epoch 3/3  box 0.125  (30.0 s)\n"


def test_what_goes_on_counts_from_where_it_was(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Of ten epochs, to be stopped after the sixth, the fifth is trained first here."""
    said = Progress(epochs=10, last_epoch=6, shown=True)
    said.epoch_began(4, float("inf"))
    clock.now += 12
    said.epoch_done({})
    assert capsys.readouterr().out == "epoch 5/10    (12.0 s, about 0:12 to go)\n"
    silent = Progress(epochs=10, last_epoch=6, shown=False)
    silent.epoch_began(0, 3)
    silent.epoch_done({"box": 1.0})
    assert capsys.readouterr().out == ""


def test_the_bar_counts_as_the_lines_do() -> None:
    bar = EpochBar(20)
    trainer: Any = SimpleNamespace(current_epoch=0, max_epochs=5, num_training_batches=7)
    bar._trainer = trainer
    bar.train_progress_bar = bar.init_train_tqdm()
    bar.on_train_epoch_start(trainer)
    assert bar.train_progress_bar.desc.startswith("epoch 1/20") and bar.train_progress_bar.total == 7
    bar.train_progress_bar.close()
