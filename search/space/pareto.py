"""Non-domination between accuracy (up) and latency (down), and the choice of the winner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Point = tuple[float, float]
"""Accuracy and latency in ms."""


def dominates(a: Point, b: Point) -> bool:
    """Whether `a` is at least as accurate and as fast as `b`, and better in one of the two."""
    return a[0] >= b[0] and a[1] <= b[1] and a != b


def ranks(points: Sequence[Point]) -> list[int]:
    """Non-domination rank of each point: 0 for the front, 1 for the front of the rest, and so on.

    Sorted by latency, a point's rank is the lowest level whose best accuracy so far does not beat it.
    """
    result = [0] * len(points)
    best: list[Point] = []  # of each rank, the most accurate point so far
    for index in sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0])):
        rank = next((r for r, top in enumerate(best) if not dominates(top, points[index])), len(best))
        result[index] = rank
        if rank == len(best):
            best.append(points[index])
        elif points[index][0] > best[rank][0]:
            best[rank] = points[index]
    return result


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other dominates, fastest first."""
    best = [index for index, rank in enumerate(ranks(points)) if rank == 0]
    return sorted(best, key=lambda i: (points[i][1], -points[i][0]))


class Candidate(Protocol):
    """What the choice of the winner reads."""

    @property
    def accuracy(self) -> float | None:
        """At full fidelity."""

    @property
    def latency_ms(self) -> float | None:
        """The median."""

    @property
    def lower_ms(self) -> float | None:
        """Lower end of the latency."""

    @property
    def upper_ms(self) -> float | None:
        """Upper end of the latency."""


@dataclass(frozen=True)
class Winner:
    """Index of the winner, and how sure it is that it keeps the budget."""

    index: int
    certainty: Literal["within", "likely", "possible"]

    @property
    def flagged(self) -> bool:
        """Whether its budget is not certain until measured."""
        return self.certainty != "within"


def choose_winner(candidates: Sequence[Candidate], budget_ms: float) -> Winner | None:
    """The most accurate candidate whose upper end is within the budget.

    If there is none: the most accurate whose median is within (`likely`), then whose lower end is
    (`possible`); both are flagged until measured. Equal accuracy goes to the faster one.
    """
    levels: tuple[tuple[Literal["within", "likely", "possible"], str], ...] = (
        ("within", "upper_ms"),
        ("likely", "latency_ms"),
        ("possible", "lower_ms"),
    )
    for certainty, end in levels:
        fitting = [i for i, c in enumerate(candidates) if c.accuracy is not None and getattr(c, end) <= budget_ms]
        if fitting:
            best = max(fitting, key=lambda i: (candidates[i].accuracy, -(candidates[i].latency_ms or 0), -i))
            return Winner(best, certainty)
    return None
