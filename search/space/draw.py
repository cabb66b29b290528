"""Parameter sets of a space at random, each of them once."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

from search.space.space import Params, Space

LISTED = 200_000
"""A space of no more combinations is listed and shuffled; a larger one is drawn from."""
MISSES = 1_000
"""Draws in a row that find nothing new before a space counts as exhausted."""


def draw(space: Space, seed: int) -> Iterator[Params]:
    """Distinct parameter sets of a space in random order: each of them once, or without end where it is too large."""
    rng = random.Random(seed)
    size = space.size(LISTED)
    if size is not None:
        every = list(space.combinations() or ())
        rng.shuffle(every)
        yield from every
        return
    seen: set[str] = set()
    misses = 0
    while misses < MISSES:
        params = space.sample(Dice(rng))
        key = json.dumps(params, sort_keys=True)
        misses = misses + 1 if key in seen else 0
        if misses == 0:
            seen.add(key)
            yield params


class Dice:
    """A trial that chooses at random."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if log:
            return min(high, max(low, round(math.exp(self._rng.uniform(math.log(low), math.log(high))))))
        return self._rng.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return math.exp(self._rng.uniform(math.log(low), math.log(high)))
        if step is not None:
            return low + step * self._rng.randrange(math.floor((high - low) / step + 1e-9) + 1)
        return self._rng.uniform(low, high)
