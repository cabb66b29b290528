"""From the sum of engines measured apart to the network measured whole: a ratio learnt from those measured both ways.

TensorRT fuses across the borders of modules, and a launch less is a launch less: the sum is close to the whole and
not equal to it. Each network measured both ways gives one ratio. They are averaged as logarithms, together with one
assumed ratio of 1 give or take 5 %, which speaks alone until something was measured and matters little after ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from search.latency.summary import LatencySummary
from search.study.records import TrialRecord

ASSUMED_SPREAD = 0.05
"""Standard deviation of the logarithm of the assumed ratio. Ours: no published figure exists."""
DEVIATIONS = 2.0
"""Half the interval, in standard deviations."""


@dataclass(frozen=True)
class Correction:
    """Whole over sum: the ratio, the ends of its interval, and from how many networks it was learnt."""

    ratio: float
    lower: float
    upper: float
    networks: int

    @classmethod
    def learn(cls, ratios: Iterable[float]) -> Correction:
        """From measured ratios."""
        logs = [math.log(ratio) for ratio in ratios]
        count = len(logs) + 1  # with the assumed one
        mean = sum(logs) / count
        variance = (ASSUMED_SPREAD**2 + sum((value - mean) ** 2 for value in (0.0, *logs))) / count
        half = DEVIATIONS * math.sqrt(variance)
        return cls(math.exp(mean), math.exp(mean - half), math.exp(mean + half), len(logs))

    @classmethod
    def of(cls, records: Iterable[TrialRecord], kind: str) -> Correction:
        """From the networks of one kind (measured, emulated) that were measured both ways."""
        pairs = {
            record.variant_hash: record.whole.total_ms / record.engines.total_ms
            for record in records
            if record.whole and record.engines and record.whole.kind == record.engines.kind == kind
            if record.engines.basis == "engines"
        }
        return cls.learn(pairs.values())

    @property
    def text(self) -> str:
        """In words, for reports."""
        learnt = f"learnt from {self.networks} networks" if self.networks else "assumed: none was measured whole yet"
        return f"whole = {self.ratio:.3f} [{self.lower:.3f}, {self.upper:.3f}] x sum of engines, {learnt}"

    def apply(self, summary: LatencySummary) -> LatencySummary:
        """A sum of engines as the whole that it stands for; anything else as it is."""
        if summary.basis != "engines":
            return summary
        return replace(
            summary,
            total_ms=summary.total_ms * self.ratio,
            lower_ms=summary.lower_ms * self.lower,
            upper_ms=summary.upper_ms * self.upper,
        )


def corrected(records: list[TrialRecord]) -> list[TrialRecord]:
    """The same with the latency that counts: measured whole where it was, else the corrected sum."""
    kinds = {r.engines.kind for r in records if r.engines is not None and r.engines.basis == "engines"}
    corrections = {kind: Correction.of(records, kind) for kind in kinds}
    found = []
    for record in records:
        latency = record.whole or record.engines
        if latency is not None and latency.basis == "engines":
            latency = corrections[latency.kind].apply(latency)
        found.append(replace(record, latency=latency))
    return found
