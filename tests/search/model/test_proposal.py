"""What is proposed: nothing twice, nothing that cannot fit, and the best soon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search.model.proposal import Pool, Result, first, propose
from search.space.space import Params, Space

SPACE: dict[str, Any] = {"a": list(range(6)), "b": list(range(6)), "kind": ["x", "y", "z"]}
BUDGET = 12.0


def worth(params: Params) -> float:
    return float(
        0.3 + 0.02 * params["a"] - 0.004 * (params["b"] - 3) ** 2 + {"x": 0, "y": 0.03, "z": -0.05}[params["kind"]]
    )


def the_pool() -> tuple[Space, Pool]:
    space = Space.model_validate({"choices": SPACE})
    every = list(space.combinations() or ())
    latency = np.array([3 + 1.5 * one["a"] + 0.5 * one["b"] for one in every])
    return space, Pool(every, latency, (latency <= BUDGET).astype(float))


def run(count: int, seed: int) -> list[int]:
    space, pool = the_pool()
    tried: dict[int, bool] = {}
    results: list[Result] = []
    for step in range(count):
        if step < 5:
            number = first(pool, sorted(tried), seed + step)
        else:
            number = propose(space, pool, results, [], tried, budget_ms=BUDGET, seed=seed + step).number
        assert number not in tried
        tried[number] = True
        results.append(Result(pool.params[number], float(pool.latency_ms[number]), 1.0, worth(pool.params[number])))
    return list(tried)


def test_the_best_that_fits_is_found_soon() -> None:
    _, pool = the_pool()
    fits = np.flatnonzero(pool.fits)
    values = np.array([worth(one) for one in pool.params])
    best = float(values[fits].max())
    for seed in (0, 100):
        tried = run(16, seed)  # of 108, a third of which do not fit
        assert all(pool.fits[number] for number in tried)
        assert max(values[tried]) == pytest.approx(best, abs=0.003)


def test_the_same_again_gives_the_same() -> None:
    assert run(8, 3) == run(8, 3)


def test_what_is_under_way_is_not_proposed_and_its_neighbours_less() -> None:
    space, pool = the_pool()
    numbers = run(8, 0)
    results = [Result(pool.params[i], float(pool.latency_ms[i]), 1.0, worth(pool.params[i])) for i in numbers]
    tried = dict.fromkeys(numbers, True)
    alone = propose(space, pool, results, [], tried, budget_ms=BUDGET, goal="front")
    beside = propose(
        space, pool, results, [alone.number], {**tried, alone.number: True}, budget_ms=BUDGET, goal="front"
    )
    assert beside.number != alone.number and beside.gain < alone.gain


def test_an_empty_pool_is_said() -> None:
    space, pool = the_pool()
    with pytest.raises(ValueError, match="every network of the pool was tried"):
        propose(space, pool, [], [], dict.fromkeys(range(len(pool.params)), True), budget_ms=BUDGET)
