"""The finish: the best few networks trained again, more than once, because one training says little of close ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from bevlite.config import Config

DRAWS = 20_000


class Race(Config):
    """How many networks run (1: no race, the best single training wins), and how often each is trained."""

    networks: int = Field(default=1, ge=1, le=20)
    seeds: int = Field(default=2, ge=1, le=20)


def chances(scores: Mapping[int, Sequence[float]]) -> dict[int, float]:
    """How likely each network is the best, by its accuracies with several seeds.

    All networks are taken to differ by the same from seed to seed, as little as that is known: a mean is drawn from
    Student's distribution with the pooled standard deviation. Empty where no network has two.

    Args:
        scores: accuracies by network.
    """
    freedom = sum(len(values) - 1 for values in scores.values())
    if freedom < 1:
        return {}
    squares = sum(float(np.sum((np.asarray(values) - np.mean(values)) ** 2)) for values in scores.values())
    deviation = np.sqrt(squares / freedom)
    rng = np.random.default_rng(0)
    means = np.array([np.mean(values) for values in scores.values()])
    errors = np.array([deviation / np.sqrt(len(values)) for values in scores.values()])
    drawn = means + errors * rng.standard_t(freedom, (DRAWS, len(means)))
    drawn += rng.random(drawn.shape) * 1e-9  # equal ones share
    won = np.bincount(drawn.argmax(axis=1), minlength=len(means)) / DRAWS
    return dict(zip(scores, won.tolist(), strict=True))
