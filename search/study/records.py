"""What is known of one trial, read from the storage into one typed record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from bevlite.config import as_dict
from search.latency.summary import LatencySummary
from search.space.objectives import Candidate

if TYPE_CHECKING:  # imports torch
    from bevlite.variant import Variant

State = Literal["rejected", "stopped", "completed", "failed", "running", "paused", "waiting"]
STATES: tuple[State, ...] = ("completed", "paused", "stopped", "rejected", "failed", "running", "waiting")


@dataclass(frozen=True)
class TrialRecord:
    """One trial. One that is `paused` waits at a rung, with all that it needs to go on.

    `rungs` maps the epoch of a rung to the score there (accuracy, split, samples, metrics).

    Latencies belong to the variant (`variant_hash`), accuracies to the network alone (`network_hash`): trials that
    differ in their precision plan share them.

    What runs in INT8 is worth what it is worth once it is quantized (`quantized`). `inherited` is the trial whose
    weights it started from, pruned, and `trained_in` the one that trained its network. `unexpected`: it failed by what
    says nothing of its network. `gain`: what the model expected it to add when it was last taken up.

    `latency` is the one that counts. Of a measured trial `engines` is the plain sum of its engines, and `whole` the
    network as one engine, where it was measured so; `whole_problem` says why it cannot be.
    """

    number: int
    state: State
    params: dict[str, Any]
    variant_hash: str | None = None
    latency: LatencySummary | None = None
    engines: LatencySummary | None = None
    whole: LatencySummary | None = None
    whole_problem: str = ""
    parameters: int | None = None
    rungs: dict[int, dict[str, Any]] = field(default_factory=dict)
    full_epochs: int = 0
    violations: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    duplicate_of: int | None = None
    seconds: float = 0.0
    network_hash: str | None = None
    quantized: dict[str, Any] | None = None
    inherited: int | None = None
    trained_in: int | None = None
    unexpected: bool = False
    gain: float | None = None

    @property
    def score(self) -> dict[str, Any] | None:
        """The result of the last rung that it reached, or that of the quantized network."""
        return self.quantized or (self.rungs[max(self.rungs)] if self.rungs else None)

    @property
    def accuracy(self) -> float | None:
        """At full fidelity only: what stopped early has none."""
        full = self.quantized or self.rungs.get(self.full_epochs)
        return float(full["accuracy"]) if full is not None and self.state == "completed" else None

    def candidate(self, variant: Variant) -> Candidate:
        """Its network as a function of the user's values it."""
        assert self.latency is not None
        return Candidate(as_dict(variant), self.latency)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % of its accuracy in draws of other scenes, where it was drawn."""
        drawn = self._drawn
        return ends(drawn) if len(drawn) and self.accuracy is not None else None

    def gain_over(self, other: TrialRecord) -> tuple[float, float] | None:
        """95 % of what its accuracy is above that of another in the same draws; None where they cannot be paired."""
        own, others = self._drawn, other._drawn
        mine, theirs = ((record.score or {}).get("draws", {}).get("samples") for record in (self, other))
        same = mine is not None and mine == theirs
        return ends(own - others) if same and len(own) and own.shape == others.shape else None

    @property
    def _drawn(self) -> np.ndarray:
        return np.array((self.score or {}).get("drawn", ()), dtype=float)

    @property
    def last_accuracy(self) -> float | None:
        """At the last rung that it reached."""
        return float(self.score["accuracy"]) if self.score is not None else None

    @property
    def last_epoch(self) -> int:
        """Epochs that it was trained."""
        return max(self.rungs, default=0)

    @property
    def latency_ms(self) -> float | None:
        """The median."""
        return self.latency.total_ms if self.latency is not None else None

    @property
    def lower_ms(self) -> float | None:
        """Lower end of the latency."""
        return self.latency.lower_ms if self.latency is not None else None

    @property
    def upper_ms(self) -> float | None:
        """Upper end of the latency."""
        return self.latency.upper_ms if self.latency is not None else None

    @property
    def violation(self) -> float:
        """How infeasible it is: the sum of all relative excesses."""
        return sum(value for value in self.violations.values() if value > 0)

    @property
    def feasible(self) -> bool:
        """Whether it keeps every limit and floor known of it."""
        return self.violation == 0

    @property
    def eligible(self) -> bool:
        """Whether it may stand on the Pareto front: completed, feasible, and no duplicate."""
        return self.state == "completed" and self.feasible and self.duplicate_of is None

    @property
    def params_text(self) -> str:
        """`camera=r18 channels=64`."""
        return " ".join(f"{name}={value}" for name, value in self.params.items())


def ends(drawn: np.ndarray) -> tuple[float, float]:
    """95 % of some values: lower and upper end."""
    lower, upper = np.percentile(drawn, (2.5, 97.5))
    return float(lower), float(upper)


def read_record(trial: FrozenTrial, full_epochs: int, wholes: Mapping[str, Mapping[str, Any]]) -> TrialRecord:
    """The record of a trial in the storage; `wholes` are the networks measured whole, by the hash of their variant."""
    attrs = trial.user_attrs
    # The attribute is written a moment before the trial ends: only the end makes it count.
    state: State = "running" if trial.state == TrialState.RUNNING else "waiting"
    if trial.state.is_finished():
        state = attrs.get("state", "failed")
    elif state == "running" and attrs.get("paused"):
        state = "paused"
    latency = LatencySummary.read(attrs["latency"]) if attrs.get("latency") else None
    whole = wholes.get(attrs.get("variant_hash", ""), {})
    return TrialRecord(
        number=trial.number,
        state=state,
        params=dict(trial.params or trial.system_attrs.get("fixed_params", {})),
        variant_hash=attrs.get("variant_hash"),
        network_hash=attrs.get("network_hash"),
        latency=latency,
        engines=latency,
        whole=LatencySummary.read(whole["latency"]) if "latency" in whole else None,
        whole_problem=str(whole.get("problem", "")),
        parameters=attrs.get("parameters"),
        rungs={int(epoch): score for epoch, score in attrs.get("rungs", {}).items()},
        full_epochs=full_epochs,
        violations=dict(trial.constraints),
        reason=attrs.get("reason", ""),
        duplicate_of=attrs.get("duplicate_of"),
        seconds=float(attrs.get("seconds", 0.0)),
        quantized=attrs.get("quantized"),
        inherited=attrs.get("inherited"),
        trained_in=attrs.get("trained_in"),
        unexpected=bool(attrs.get("unexpected")),
        gain=attrs.get("gain"),
    )


def spent(records: Sequence[TrialRecord], rungs: Sequence[int]) -> int:
    """Epochs that were trained, and those of the next rungs of trials under way."""
    own = [record for record in records if record.trained_in in (None, record.number)]
    ahead = (next((rung for rung in rungs if rung > r.last_epoch), r.last_epoch) for r in own if r.state == "running")
    return sum(record.last_epoch for record in own if record.state != "running") + sum(ahead)
