"""What is said after Ctrl-C can be pasted: it goes on."""

from __future__ import annotations

import shlex

import pytest
import typer

from bevlite.cli.main import build_app, completed
from bevlite.cli.stopped import GO_ON, stopped_words


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["train", "my net.yaml", "--out", "r"], ["--resume"]),
        (["train", "v.yaml", "--resume", "--out", "r"], []),
        (["train", "v.yaml", "--resume=auto"], []),
        (["data", "synth", "w", "--seed", "3"], []),
        (["compress", "runs/a b", "--budget-ms", "40"], []),
        (["analyze", "sensitivity", "r", "--prune"], []),
    ],
)
def test_the_command_that_goes_on(words: list[str], more: list[str]) -> None:
    said, _, command = stopped_words(words).partition("Go on with: ")
    assert said.startswith("stopped; ") and shlex.split(command) == ["bevlite", *words, *more]


@pytest.mark.parametrize("words", [[], ["eval", "r"], ["data"], ["data", "check", "w"], ["analyze", "profile", "r"]])
def test_what_would_begin_anew_says_no_more(words: list[str]) -> None:
    assert stopped_words(words) == "stopped"


def test_they_are_commands() -> None:
    for names in GO_ON:
        command = typer.main.get_command(build_app())
        for name in names:
            command = command.commands[name]  # type: ignore[attr-defined]
    assert completed(shlex.split(stopped_words(["train", "v"]).split(": ")[1])[1:]) == [
        "train",
        "v",
        "--resume",
        "auto",
    ]
