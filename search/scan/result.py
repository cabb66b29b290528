"""What a scan found: every variant with its predicted latency, and how they stand to a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from search.space.space import Params

Verdict = Literal["within", "possible", "over"]
VERDICTS: dict[Verdict, str] = {
    "within": "surely: even the upper end of the latency is within the budget",
    "possible": "possibly: only the lower end is within the budget",
    "over": "not: even the lower end is over the budget",
}


@dataclass(frozen=True)
class ScanConditions:
    """What a scan was of: the budget in ms, the board and its mode, and the choices of the space by name.

    `combinations` is the number of all parameter sets; None for very many.
    """

    budget_ms: float
    device: str
    power_mode: str
    tensorrt: str
    choices: tuple[str, ...]
    combinations: int | None


@dataclass(frozen=True)
class ScanRow:
    """One variant: what was chosen, its predicted latency in ms with the ends of its interval, the hash of its network,
    and the MB of its engines (None where an older cache does not know)."""

    params: Params
    latency_ms: float
    lower_ms: float
    upper_ms: float
    gflops: float
    modules: Mapping[str, float]
    network: str = ""
    memory_mb: float | None = None

    def verdict(self, budget_ms: float) -> Verdict:
        """Whether it keeps a budget in ms."""
        if self.upper_ms <= budget_ms:
            return "within"
        return "possible" if self.lower_ms <= budget_ms else "over"


@dataclass(frozen=True)
class Refused:
    """A combination without a latency, and why."""

    params: Params
    reason: str


@dataclass(frozen=True)
class ScanResult:
    """All variants that were scanned. `distinct_modules` of them were predicted, the rest is shared."""

    conditions: ScanConditions
    rows: tuple[ScanRow, ...]
    invalid: tuple[Refused, ...]
    failed: tuple[Refused, ...]
    same_network: int
    distinct_modules: int
    seconds: float

    def count(self, verdict: Verdict, budget_ms: float) -> int:
        """How many variants have this verdict for a budget in ms."""
        return sum(row.verdict(budget_ms) == verdict for row in self.rows)

    @property
    def fastest(self) -> ScanRow | None:
        """The variant of the lowest latency."""
        return min(self.rows, key=lambda row: row.latency_ms, default=None)

    def largest_within(self, budget_ms: float) -> ScanRow | None:
        """The variant of most GFLOPs among those that surely keep a budget in ms."""
        fitting = [row for row in self.rows if row.verdict(budget_ms) == "within"]
        return max(fitting, key=lambda row: (row.gflops, -row.latency_ms), default=None)

    def quantiles(self, shares: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)) -> list[tuple[float, float]]:
        """(share, latency in ms) pairs: the nearest of the latencies, none of them between two."""
        ordered = sorted(row.latency_ms for row in self.rows)
        return [(share, ordered[round(share * (len(ordered) - 1))]) for share in shares] if ordered else []
