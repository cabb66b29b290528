"""What Ctrl-C leaves to say: the command that goes on, where what was finished is kept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

GO_ON = (
    ("train",), ("finetune",), ("qat",), ("compress",), ("data", "synth"), ("analyze", "sensitivity"),
)  # fmt: skip
"""Commands that go on where they were stopped when they are called again."""


def stopped_words(words: Sequence[str]) -> str:
    """The last line of a command that was stopped, from its words without the program."""
    if not any(tuple(words[: len(names)]) == names for names in GO_ON):
        return "stopped"
    more = ["--resume"] if words[0] == "train" and not any(word.startswith("--resume") for word in words) else []
    return f"stopped; nothing that was finished is lost. Go on with: {shlex.join(['bevlite', *words, *more])}"
