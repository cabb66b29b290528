from __future__ import annotations

import random
from dataclasses import dataclass

from search.space.pareto import Point, choose_winner, dominates, front, ranks


def brute_ranks(points: list[Point]) -> list[int]:
    left, result, rank = set(range(len(points))), [0] * len(points), 0
    while left:
        best = {i for i in left if not any(dominates(points[j], points[i]) for j in left)}
        for i in best:
            result[i] = rank
        left, rank = left - best, rank + 1
    return result


def test_ranks_and_front_against_brute_force() -> None:
    rng = random.Random(0)
    for _ in range(300):
        size = rng.randint(0, 14)
        points = [(float(rng.randint(0, 5)), float(rng.randint(0, 5))) for _ in range(size)]
        expected = brute_ranks(points)
        assert ranks(points) == expected
        assert sorted(front(points)) == [i for i, rank in enumerate(expected) if rank == 0]


def test_front_is_fastest_first() -> None:
    assert front([(0.5, 50.0), (0.3, 20.0), (0.2, 30.0), (0.4, 30.0)]) == [1, 3, 0]


@dataclass
class Candidate:
    accuracy: float | None
    lower_ms: float
    latency_ms: float
    upper_ms: float


def test_the_winner_has_its_upper_end_within_the_budget() -> None:
    sure, likely = Candidate(0.3, 20, 30, 40), Candidate(0.5, 50, 58, 70)
    possible = Candidate(0.6, 55, 65, 80)
    winner = choose_winner([possible, likely, sure], 60)
    assert winner is not None and (winner.index, winner.certainty, winner.flagged) == (2, "within", False)
    winner = choose_winner([possible, likely], 60)
    assert winner is not None and (winner.index, winner.certainty, winner.flagged) == (1, "likely", True)
    winner = choose_winner([possible], 60)
    assert winner is not None and (winner.certainty, winner.flagged) == ("possible", True)
    assert choose_winner([Candidate(0.9, 61, 70, 80), Candidate(None, 1, 2, 3)], 60) is None


def test_equal_accuracy_goes_to_the_faster() -> None:
    winner = choose_winner([Candidate(0.3, 20, 30, 40), Candidate(0.3, 10, 20, 30)], 60)
    assert winner is not None and winner.index == 1
