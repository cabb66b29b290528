"""A study as `bevlite search status --json` writes it: typed, with units in the names."""

from __future__ import annotations

from typing import Any

from bevlite.config import Config
from search.report.words import no_winner
from search.space.samplers import MODEL
from search.study.records import TrialRecord, spent
from search.study.view import StudyView


class TrialStatus(Config):
    """A trial: what it is, what it is worth after how many epochs, and its latency (predicted, measured, emulated).

    accuracy: of the last rung that it reached. accuracy_95: in draws of the scenes; None where nothing was drawn.
    at_work: whether a process of this machine is at it now.
    """

    number: int
    state: str
    params: dict[str, Any]
    epochs: int
    accuracy: float | None
    accuracy_95: tuple[float, float] | None
    latency_kind: str | None
    latency_ms: float | None
    lower_ms: float | None
    upper_ms: float | None
    memory_mb: float | None
    parameters: int | None
    network_hash: str | None
    variant_hash: str | None
    at_work: bool

    @classmethod
    def of(cls, view: StudyView, record: TrialRecord) -> TrialStatus:
        """Of a trial of a study."""
        latency = record.latency
        return cls(
            number=record.number,
            state=record.state,
            params=record.params,
            epochs=record.last_epoch,
            accuracy=record.last_accuracy,
            accuracy_95=record.interval,
            latency_kind=latency.kind if latency is not None else None,
            latency_ms=record.latency_ms,
            lower_ms=record.lower_ms,
            upper_ms=record.upper_ms,
            memory_mb=latency.memory_mb if latency is not None else None,
            parameters=record.parameters,
            network_hash=record.network_hash,
            variant_hash=record.variant_hash,
            at_work=record.state == "running" and view.is_at_work(record),
        )


class StudyStatus(Config):
    """How far a study is and what is best.

    counts: trials by state. asked: trials, or full trainings of the search's own model, of which `spent` are spent.
    best: the winner so far. certainty: which end of its latency keeps the budget: within (the upper one), likely (the
    median), possible (the lower one). why_none: why there is no winner. pareto: what no other trial beats, fastest
    first. running: trials under way, and those that were interrupted.
    """

    study: str
    sampler: str
    trials: int
    asked: int
    spent: float
    counts: dict[str, int]
    budget_ms: float
    device: str
    accuracy: str
    scored_on: str
    best: TrialStatus | None
    certainty: str | None
    why_none: str | None
    pareto: tuple[TrialStatus, ...]
    running: tuple[TrialStatus, ...]

    @classmethod
    def of(cls, view: StudyView) -> StudyStatus:
        """Of a study as it is now."""
        config, outcome = view.config, view.outcome
        records, choice = outcome.records, outcome.choice
        trained = spent(records, config.fidelity.rungs) / config.fidelity.epochs
        return cls(
            study=str(view.folder),
            sampler=config.sampler,
            trials=len(records),
            asked=config.trials,
            spent=trained if config.sampler == MODEL else len(records),
            counts=outcome.counts,
            budget_ms=outcome.budget_ms,
            device=config.device.title,
            accuracy=view.label,
            scored_on=outcome.where,
            best=TrialStatus.of(view, choice[0]) if choice is not None else None,
            certainty=choice[1].certainty if choice is not None else None,
            why_none=no_winner(view) if choice is None else None,
            pareto=tuple(TrialStatus.of(view, record) for record in outcome.pareto),
            running=tuple(TrialStatus.of(view, record) for record in records if record.state == "running"),
        )
