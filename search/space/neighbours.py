"""Networks that differ from one by a single choice: where a space is too large to be listed, the front leads there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from search.space.draw import Dice
from search.space.space import Choice, Params, Space

STEP = 0.1
"""Of a range whose values cannot be listed: how far its neighbours lie."""


def neighbours(space: Space, params: Params, seed: int) -> Iterator[Params]:
    """Each choice of a network changed to each of its other values, in random order.

    What a change makes possible is drawn, and what it rules out goes.
    """
    rng = random.Random(seed)
    changes = [
        (name, value)
        for name, choice in space.choices.items()
        if name in params
        for value in _others(choice, params[name])
    ]
    rng.shuffle(changes)
    for name, value in changes:
        yield _changed(space, params, name, value, rng)


def _others(choice: Choice, value: Any) -> list[Any]:
    finite = choice.finite()
    if finite is not None:
        return [one for one in finite if one != value]
    assert choice.low is not None and choice.high is not None
    if choice.log:
        factor = (choice.high / choice.low) ** STEP
        moved = [value / factor, value * factor]
    else:
        step = choice.step or 0.0
        far = (choice.high - choice.low) * STEP
        far = max(step, round(far / step) * step) if step else far
        moved = [value - far, value + far]
    if choice.whole:
        moved = [min(round(moved[0]), value - 1), max(round(moved[1]), value + 1)]
    return [one for one in moved if one != value and choice.contains(one)]


def _changed(space: Space, params: Params, name: str, value: Any, rng: random.Random) -> Params:
    made: Params = {}
    for other, choice in space.choices.items():
        if not space.active(choice, made):
            continue
        if other == name:
            made[other] = value
        else:
            made[other] = params[other] if other in params else choice.suggest(Dice(rng), other)
    return made
