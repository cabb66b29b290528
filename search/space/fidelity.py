"""Staged fidelity: all train a little, the promising longer (Optuna stops no trial of two objectives)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, field_validator

from bevlite.config import Config
from search.space.pareto import ranks


class Fidelity(Config):
    """Where trials are compared (`rungs`, in epochs), and when one is stopped there.

    A trial is stopped after a rung when all of this holds:

    - at least `min_trials` trials, itself included, have a result at the rung;
    - it is not on the front of the rung (accuracy at the rung against latency);
    - one that is no more than `similar` slower is better by at least `margin`;
    - at least the share `keep` of all results has a better non-domination rank.
    """

    rungs: tuple[int, ...] = Field(default=(2, 6, 12), min_length=1)
    keep: float = Field(default=0.5, gt=0, lt=1)
    margin: float = Field(default=0.01, ge=0)
    similar: float = Field(default=0.02, ge=0)
    min_trials: int = Field(default=4, ge=2)

    @field_validator("rungs")
    @classmethod
    def _growing(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if list(rungs) != sorted(set(rungs)) or rungs[0] < 1:
            raise ValueError(f"found {list(rungs)}; accepted: growing whole numbers from 1")
        return rungs

    @property
    def epochs(self) -> int:
        """Full fidelity: the epochs of the last rung."""
        return self.rungs[-1]


@dataclass(frozen=True)
class RungPoint:
    """The result of one trial at one rung."""

    number: int
    accuracy: float
    latency_ms: float


def stop_reason(candidate: RungPoint, others: Sequence[RungPoint], rule: Fidelity) -> str | None:
    """Why `candidate` is stopped among the `others` of its rung, in words; None when it goes on."""
    everyone = [*others, candidate]
    if len(everyone) < rule.min_trials:
        return None
    levels = ranks([(point.accuracy, point.latency_ms) for point in everyone])
    own = levels[-1]
    if own == 0:
        return None
    slowest_ms = candidate.latency_ms * (1 + rule.similar)
    beaten_by = [
        point
        for point in others
        if point.latency_ms <= slowest_ms and point.accuracy - candidate.accuracy >= rule.margin
    ]
    ahead = sum(level < own for level in levels)
    if not beaten_by or ahead < rule.keep * len(everyone):
        return None
    best = max(beaten_by, key=lambda point: (point.accuracy, -point.number))
    return (
        f"{candidate.accuracy:.4f} against {best.accuracy:.4f} of trial {best.number} at similar or lower "
        f"latency; {ahead} of {len(everyone)} are ahead"
    )
