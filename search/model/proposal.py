"""Which network of a pool is tried next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from search.model.encoding import Encoding
from search.model.improvement import Points, expected_hypervolume, expected_improvement
from search.model.surrogate import Surrogate
from search.space.objectives import Goal
from search.space.space import Params, Space

FLOOR = 1e-12
"""Of an improvement in which nobody believes: then what is least known is tried."""


@dataclass(frozen=True)
class Result:
    """What a network was worth after a share of the full training (more than 0, up to 1); `fits`: the chance that it
    keeps the budget."""

    params: Params
    latency_ms: float
    trained: float
    accuracy: float
    fits: float = 1.0


@dataclass(frozen=True)
class Pool:
    """Networks that may be tried: what was chosen, latencies in ms, and how likely each keeps the budget (0 to 1)."""

    params: Sequence[Params]
    latency_ms: np.ndarray
    fits: np.ndarray


@dataclass(frozen=True)
class Proposal:
    """A network of the pool by its number, how much it is expected to add (accuracy, or accuracy times ms of a front),
    and what is expected of it.

    noise: standard deviation of a single training, as the model finds it. share: of the gain, in accuracy alone: what a
    front gains on average over the latencies below the budget.
    """

    number: int
    gain: float
    mean: float
    deviation: float
    noise: float = 0.0
    share: float = 0.0


def first(pool: Pool, tried: Sequence[int], seed: int) -> int:
    """A network before anything is known: of those that surely fit, far in latency from all that were tried."""
    rng = np.random.default_rng(seed)
    free = np.setdiff1d(np.arange(len(pool.params)), np.array(sorted(tried), dtype=int))
    likely = free[pool.fits[free] >= pool.fits[free].max() - 1e-9]
    few = rng.choice(likely, size=min(len(likely), 64), replace=False)
    if not len(tried):
        return int(few[np.argmax(pool.latency_ms[few])])  # what may take its time is worth knowing first
    order = np.argsort(np.argsort(pool.latency_ms, kind="stable"), kind="stable")
    apart = np.abs(order[few][:, None] - order[np.array(sorted(tried), dtype=int)][None, :]).min(axis=1)
    return int(few[np.argmax(apart)])


def propose(
    space: Space, pool: Pool, results: Sequence[Result], running: Sequence[int], tried: Mapping[int, bool], *,
    budget_ms: float, goal: Goal = "best", seed: int = 0, begun: Mapping[int, float] | None = None,
) -> Proposal:  # fmt: skip
    """The network with the largest expected improvement for the training that it still needs.

    With the goal `best` a network is worth its accuracy times the chance that it keeps the budget, and what counts is
    the best one; with `front` it is the hypervolume, times that chance. What is known counts with what the model
    believes of it, not with what a single training gave.

    Networks under way count with what is expected of them, so that several are not sent after the same.

    Args:
        space: whose choices the parameters are.
        pool: what may be tried.
        results: what is known, lower rungs included; at least two.
        running: numbers in the pool of networks under way.
        tried: numbers in the pool that are not tried again.
        budget_ms: what is slower does not count.
        goal: one network for the budget, or a front.
        seed: of the fit.
        begun: numbers in the pool of networks that wait at a lower rung, with the share of the training that they had.

    Raises:
        ValueError: nothing is left to be tried.
    """
    free = np.array([number for number in range(len(pool.params)) if number not in tried], dtype=int)
    if not len(free):
        raise ValueError("every network of the pool was tried")
    encoding, model = Encoding(space), Surrogate(seed)
    known = encoding.rows([one.params for one in results], [one.latency_ms for one in results])
    trained, accuracy = (np.array([getattr(one, name) for one in results]) for name in ("trained", "accuracy"))
    order = np.argsort(trained, kind="stable")  # where there are too many, the full trainings are kept
    model.fit(known[order], trained[order], accuracy[order])
    rows = encoding.rows(pool.params, pool.latency_ms)
    mean, deviation = model.predict(rows)
    if len(running):
        ways = np.array(sorted(running), dtype=int)
        model.fit(
            np.concatenate([known[order], rows[ways]]),
            np.concatenate([trained[order], np.ones(len(ways))]),
            np.concatenate([accuracy[order], mean[ways]]),
        )
        mean, deviation = model.predict(rows)
    ended = [one for one in results if one.trained >= 1]
    believed = model.predict(known[trained >= 1])[0].tolist() if ended else []
    full: Points = [
        *zip(believed, (one.latency_ms for one in ended), strict=True),
        *((float(mean[i]), float(pool.latency_ms[i])) for i in running),
    ]
    reference = float(min([*accuracy.tolist(), *(point[0] for point in full)]))
    if goal == "best":
        chances = [*(one.fits for one in ended), *pool.fits[list(running)].tolist()]
        best_now = max(
            (chance * (point[0] - reference) for chance, point in zip(chances, full, strict=True)), default=0
        )
        chance = np.maximum(pool.fits[free], 1e-9)
        gain = chance * expected_improvement(mean[free], deviation[free], reference + best_now / chance)
    else:
        gain = pool.fits[free] * expected_hypervolume(
            mean[free], deviation[free], pool.latency_ms[free], full, budget_ms, reference
        )
    left = np.array([1.0 - (begun or {}).get(int(number), 0.0) for number in free])
    worth = gain if gain.max() > FLOOR else pool.fits[free] * deviation[free]
    place = int(np.argmax(worth / left))
    best, most = int(free[place]), float(gain.max())
    share = most if goal == "best" else most / budget_ms
    return Proposal(best, float(gain[place]), float(mean[best]), float(deviation[best]), model.noise, share)
