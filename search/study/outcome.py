"""What a study has found so far: the Pareto front, the winner, or the least infeasible."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from search.space.pareto import Winner, choose_winner, front
from search.study.correction import Correction
from search.study.records import STATES, TrialRecord


@dataclass(frozen=True)
class Outcome:
    """All trials and what follows from them; `raced` is the one that won the race at the end, once it was run."""

    records: tuple[TrialRecord, ...]
    budget_ms: float
    raced: int | None = None

    @property
    def pareto(self) -> list[TrialRecord]:
        """Completed and feasible trials that no other dominates, fastest first."""
        eligible = self._eligible
        points = [(record.accuracy or 0.0, record.latency_ms or 0.0) for record in eligible]
        return [eligible[i] for i in front(points)]

    @property
    def choice(self) -> tuple[TrialRecord, Winner] | None:
        """The winner and how certain its budget is; None when no trial is eligible."""
        eligible = self._eligible
        winner = choose_winner(eligible, self.budget_ms)
        if winner is None:
            return None
        for record in self.contenders(len(eligible)):
            if record.number == self.raced:
                return record, winner
        return eligible[winner.index], winner

    def contenders(self, most: int) -> list[TrialRecord]:
        """The best trials, at most so many, that are as sure to keep the budget as the best of them is."""
        eligible = self._eligible
        winner = choose_winner(eligible, self.budget_ms)
        if winner is None:
            return []
        end = {"within": "upper_ms", "likely": "latency_ms", "possible": "lower_ms"}[winner.certainty]
        fitting = [record for record in eligible if (getattr(record, end) or 0.0) <= self.budget_ms]
        return sorted(fitting, key=lambda r: (-(r.accuracy or 0.0), r.latency_ms or 0.0, r.number))[:most]

    @property
    def _eligible(self) -> list[TrialRecord]:
        """What may win; a network may have turned out slower since it was a candidate, when it was measured whole."""
        return [r for r in self.records if r.eligible and (r.lower_ms or 0.0) <= self.budget_ms]

    @property
    def corrections(self) -> dict[str, Correction]:
        """Of each kind of measurement, what the whole is to the sum of its engines."""
        kinds = [r.engines.kind for r in self.records if r.engines is not None and r.engines.basis == "engines"]
        return {kind: Correction.of(self.records, kind) for kind in dict.fromkeys(kinds)}

    @property
    def missing(self) -> tuple[str, ...]:
        """Steps around the engines that are in no latency of this study, because nothing measures them yet."""
        return tuple(dict.fromkeys(name for r in self.records if r.latency is not None for name in r.latency.missing))

    @property
    def more_accurate(self) -> TrialRecord | None:
        """The most accurate trial when that is not the winner: it may fit once measured."""
        if self.choice is None:
            return None
        best = max(self.pareto, key=lambda record: record.accuracy or 0.0)
        winner = self.choice[0]
        return best if (best.accuracy or 0.0) > (winner.accuracy or 0.0) else None

    @property
    def least_infeasible(self) -> TrialRecord | None:
        """Of the trials that break a limit or a floor the one that breaks them least."""
        broken = [r for r in self.records if r.violation > 0 and r.latency and r.duplicate_of is None]
        return min(broken, key=lambda r: (r.violation, r.number), default=None)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are in each state."""
        found = Counter(record.state for record in self.records)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def duplicates(self) -> int:
        """How many trials took over the result of another."""
        return sum(record.duplicate_of is not None for record in self.records)

    @property
    def where(self) -> str:
        """The split and the number of samples that all accuracies are from."""
        for record in self.records:
            if record.score is not None:
                return f"{record.score['split']}, {record.score['samples']} samples"
        return "nothing evaluated yet"


BUDGET_WORDS = {
    "within": "the upper end of its latency is within the budget",
    "likely": "its median is within the budget, its upper end is not",
    "possible": "only the lower end of its latency is within the budget",
}


def budget_words(record: TrialRecord, winner: Winner) -> str:
    """How sure it is that a winner keeps the budget, and what that rests on."""
    latency = record.latency
    assert latency is not None
    words = BUDGET_WORDS[winner.certainty]
    if winner.flagged:
        words = f"NOT CERTAIN{' until measured' if latency.kind == 'predicted' else ''}: {words}"
    if latency.kind == "emulated":
        words += "; EMULATED, which says nothing of a real board"
    if latency.basis == "engines":
        words += f"; not measured as a whole ({record.whole_problem or 'no board answered'})"
    if latency.missing:
        words += f"; not in it: {', '.join(latency.missing)}"
    return words


def no_feasible(outcome: Outcome, label: str) -> str:
    """What to say when there is no winner."""
    least = outcome.least_infeasible
    if least is not None and least.latency is not None:
        known = least.last_accuracy
        score = f", {label} {known:.4f} ({outcome.where})" if known is not None else ""
        return (
            f"no feasible trial among {len(outcome.records)}. Least infeasible: trial {least.number} "
            f"({least.latency.text}{score}; {least.reason or 'over a limit'})  {least.params_text}"
        )
    failed = [record for record in outcome.records if record.state in ("failed", "rejected")]
    hint = f" The last one {failed[-1].state}: {failed[-1].reason}" if failed else ""
    return f"no trial was completed among {len(outcome.records)}.{hint}"
