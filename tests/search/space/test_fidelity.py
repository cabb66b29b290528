from __future__ import annotations

import random

from search.space.fidelity import Fidelity, RungPoint, stop_reason
from search.space.pareto import ranks

RULE = Fidelity(rungs=(1, 2), keep=0.5, margin=0.02, similar=0.1, min_trials=4)


def points(*pairs: tuple[float, float]) -> list[RungPoint]:
    return [RungPoint(i, accuracy, latency) for i, (accuracy, latency) in enumerate(pairs)]


def candidate(accuracy: float, latency_ms: float) -> RungPoint:
    return RungPoint(99, accuracy, latency_ms)


def test_too_few_results_stop_nothing() -> None:
    assert stop_reason(candidate(0.1, 50), points((0.9, 10), (0.8, 9)), RULE) is None


def test_dominated_by_a_margin_with_enough_ahead_is_stopped() -> None:
    others = points((0.30, 20), (0.40, 30), (0.50, 45))
    reason = stop_reason(candidate(0.35, 50), others, RULE)
    assert reason is not None and "0.3500 against 0.5000 of trial 2" in reason and "3 of 4 are ahead" in reason


def test_the_front_is_never_stopped() -> None:
    others = points((0.30, 20), (0.40, 30), (0.50, 45))
    assert stop_reason(candidate(0.05, 19), others, RULE) is None  # the fastest
    # Slower ones of similar latency are far better, but nothing dominates it.
    assert stop_reason(candidate(0.25, 19), points((0.9, 19.5), (0.8, 19.4), (0.85, 19.45)), RULE) is None


def test_within_the_margin_goes_on() -> None:
    others = points((0.30, 20), (0.40, 30), (0.50, 45))
    assert stop_reason(candidate(0.49, 50), others, RULE) is None
    assert stop_reason(candidate(0.47, 50), others, RULE) is not None


def test_a_good_rank_goes_on() -> None:
    # Rank 1 with one of six ahead of it: less than half.
    others = points((0.50, 40), (0.1, 60), (0.1, 61), (0.1, 62), (0.1, 63))
    assert stop_reason(candidate(0.4, 50), others, RULE) is None


def test_random_sets_never_lose_their_front() -> None:
    rng = random.Random(1)
    for _ in range(200):
        everyone = points(*((rng.random(), rng.uniform(10, 60)) for _ in range(rng.randint(4, 12))))
        levels = ranks([(p.accuracy, p.latency_ms) for p in everyone])
        for point, level in zip(everyone, levels, strict=True):
            if level == 0:
                assert stop_reason(point, [p for p in everyone if p is not point], RULE) is None
