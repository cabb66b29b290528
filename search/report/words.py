"""A study in words, for the terminal."""

from __future__ import annotations

from pathlib import Path

from search.space.samplers import MODEL
from search.study.curves import ELSEWHERE
from search.study.outcome import budget_words, no_feasible
from search.study.pool import nothing_fits
from search.study.records import TrialRecord, spent
from search.study.view import StudyView
from search.study.winner import FinalResult


def status_lines(view: StudyView) -> list[str]:
    """How far a study is, what runs, and what is best so far."""
    config, outcome = view.config, view.outcome
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items()) or "no trials"
    lines = [f"{view.folder}: {spent_words(view)} ({counts})"]
    for record in outcome.records:
        if record.state == "running":
            at_work = view.is_at_work(record)
            words = "is running" if at_work else "was interrupted; `bevlite search run` goes on with it"
            lines.append(f"trial {record.number} {words} (epoch {record.last_epoch} done)  {record.params_text}")
    lines.append(f"budget {outcome.budget_ms:g} ms, {config.device.title}; accuracy on {outcome.where}")
    return [*lines, best_line(view)]


def spent_words(view: StudyView) -> str:
    """How many trials there are of how many; of the model, what was spent of what may be."""
    config, records = view.config, view.outcome.records
    if config.sampler != MODEL:
        return f"{len(records)} of {config.trials} trials"
    full = spent(records, config.fidelity.rungs) / config.fidelity.epochs
    return f"{len(records)} trials; {full:.1f} of {config.trials} full trainings"


def best_line(view: StudyView) -> str:
    """The winner so far, or why there is none."""
    outcome, label = view.outcome, view.label
    if outcome.choice is None:
        return no_winner(view)
    record, winner = outcome.choice
    assert record.latency is not None
    return (
        f"best: trial {record.number}, {label} {record.accuracy:.4f} after {record.last_epoch} epochs "
        f"({outcome.where}), {record.latency.text}, budget {outcome.budget_ms:g} ms: "
        f"{budget_words(record, winner)}  {record.params_text}"
    )


def no_winner(view: StudyView) -> str:
    """Why there is no winner: nothing may fit, or nothing that was tried does."""
    pool = view.pool
    if pool is not None and not pool.rows and not view.outcome.records:
        return nothing_fits(pool, view.config.constraints)
    return no_feasible(view.outcome, view.label)


def gain_lines(view: StudyView) -> list[str]:
    """What the winner is above every other network of the front, with 95 % of draws of the scenes, paired."""
    if view.outcome.choice is None:
        return []
    winner, lines = view.outcome.choice[0], list[str]()
    for record in view.outcome.pareto:
        gain = winner.gain_over(record) if record.number != winner.number else None
        if gain is None:
            continue
        sure = "beyond chance" if gain[0] > 0 else "not beyond chance" if gain[1] > 0 else "the other is better"
        more = (winner.accuracy or 0.0) - (record.accuracy or 0.0)
        lines.append(
            f"trial {winner.number} over trial {record.number}: {view.label} {more:+.4f}, "
            f"{gain[0]:+.4f} to {gain[1]:+.4f} in 95 % of draws of the scenes ({sure})  {record.params_text}"
        )
    return lines


def race_line(view: StudyView) -> str | None:
    """What the race at the end gave; None where there was none."""
    return f"race, {view.label} by seed: {view.race.words}" if view.race is not None else None


def why_lines(view: StudyView, number: int) -> list[str]:
    """What became of a trial and why, with its latency, its curve and where its weights are from.

    Raises:
        BevliteError: there is no such trial.
    """
    outcome, label, record = view.outcome, view.label, view.record(number)
    lines = [f"trial {number}: {record.params_text}", f"{record.state}: {_cause(view, record)}"]
    if record.latency is not None:
        lines.append(f"latency: {record.latency.text}, budget {outcome.budget_ms:g} ms on {view.config.device.title}")
    if record.rungs:
        curve = ", ".join(f"{float(score['accuracy']):.4f} at {epoch}" for epoch, score in sorted(record.rungs.items()))
        lines.append(f"{label} by epoch: {curve} (of {record.full_epochs}; {outcome.where})")
    if record.quantized is not None:
        lines.append(f"in INT8: {label} {float(record.quantized['accuracy']):.4f}")
    if record.inherited is not None:
        lines.append(f"started from what is left of trial {record.inherited}")
    if record.trained_in == ELSEWHERE:
        lines.append("trained in another search; its weights are not here")
    elif record.trained_in not in (None, number):
        lines.append(f"trained as trial {record.trained_in}")
    return lines


def _cause(view: StudyView, record: TrialRecord) -> str:
    """Why a trial is where it is."""
    outcome = view.outcome
    if record.state == "running":
        return "at work" if view.is_at_work(record) else "interrupted; `bevlite search run` goes on with it"
    if record.state == "paused":
        return f"waits at epoch {record.last_epoch}: others are expected to gain more for the epochs that they need"
    if record.state != "completed":
        return record.reason or "no reason was kept"
    if not record.feasible:
        return record.reason or "over a limit"
    if record.duplicate_of is not None:
        return f"the same network as trial {record.duplicate_of}"
    if outcome.choice is not None and outcome.choice[0].number == record.number:
        return "the winner"
    if (record.lower_ms or 0.0) > outcome.budget_ms:
        return "measured as a whole it is over the budget"
    better = [
        one
        for one in outcome.pareto
        if one.number != record.number
        and (one.accuracy or 0.0) >= (record.accuracy or 0.0)
        and (one.latency_ms or 0.0) <= (record.latency_ms or 0.0)
    ]
    if better:
        most = max(better, key=lambda one: (one.accuracy or 0.0, -one.number))
        gain, less = (
            (most.accuracy or 0.0) - (record.accuracy or 0.0),
            (record.latency_ms or 0) - (most.latency_ms or 0),
        )
        return f"trial {most.number} is better by {gain:.4f} {view.label} and quicker by {less:.2f} ms"
    assert outcome.choice is not None
    chosen, winner = outcome.choice
    if (record.accuracy or 0.0) > (chosen.accuracy or 0.0):
        return f"on the front; less sure to keep the budget than trial {chosen.number} ({budget_words(chosen, winner)})"
    return f"on the front; trial {chosen.number} is more accurate and keeps the budget too"


def final_line(final: FinalResult, label: str, run: Path) -> str | None:
    """What the winner's own training gave; None before it has ended."""
    if final.score is None:
        return None
    score = final.score
    return (
        f"final training, {final.epochs} epochs: {label} {score['accuracy']:.4f} "
        f"({score['split']}, {score['samples']} samples)  run: {run}"
    )
