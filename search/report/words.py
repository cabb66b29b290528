"""A study in words, for the terminal."""

from __future__ import annotations

from pathlib import Path

from search.study.outcome import budget_words, no_feasible
from search.study.view import StudyView
from search.study.winner import FinalResult


def status_lines(view: StudyView) -> list[str]:
    """How far a study is, what runs, and what is best so far."""
    config, outcome = view.config, view.outcome
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items()) or "no trials"
    lines = [f"{view.folder}: {len(outcome.records)} of {config.trials} trials ({counts})"]
    for record in outcome.records:
        if record.state == "running":
            at_work = view.is_at_work(record)
            words = "is running" if at_work else "was interrupted; `bevlite search run` goes on with it"
            lines.append(f"trial {record.number} {words} (epoch {record.last_epoch} done)  {record.params_text}")
    lines.append(f"budget {outcome.budget_ms:g} ms, {config.device.title}; accuracy on {outcome.where}")
    return [*lines, best_line(view)]


def best_line(view: StudyView) -> str:
    """The winner so far, or why there is none."""
    outcome, label = view.outcome, view.label
    if outcome.choice is None:
        return no_feasible(outcome, label)
    record, winner = outcome.choice
    assert record.latency is not None
    return (
        f"best: trial {record.number}, {label} {record.accuracy:.4f} after {record.last_epoch} epochs "
        f"({outcome.where}), {record.latency.text}, budget {outcome.budget_ms:g} ms: "
        f"{budget_words(record, winner)}  {record.params_text}"
    )


def final_line(final: FinalResult, label: str, run: Path) -> str | None:
    """What the winner's own training gave; None before it has ended."""
    if final.score is None:
        return None
    score = final.score
    return (
        f"final training, {final.epochs} epochs: {label} {score['accuracy']:.4f} "
        f"({score['split']}, {score['samples']} samples)  run: {run}"
    )
