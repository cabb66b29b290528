"""The trials as tables: for the terminal and the report in words, for CSV in plain numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from bevlite.config import write_atomic
from search.latency.summary import BASIS_WORDS
from search.space.objectives import accuracies
from search.study.outcome import Outcome
from search.study.records import TrialRecord

Rows = list[list[str]]


def _figures() -> tuple[str, ...]:
    """Figures that a table of trials shows, where they are."""
    return tuple(accuracy.key for accuracy in accuracies().values())


def pareto_rows(outcome: Outcome, label: str) -> tuple[list[str], Rows]:
    """Head and rows of the Pareto table."""
    shown = [m for m in _figures() if m != label and any(m in _metrics(record) for record in outcome.pareto)]
    drawn = any(record.interval is not None for record in outcome.pareto)
    winner = outcome.choice[0] if outcome.choice is not None else None
    more = ["95 %", "behind the winner, 95 %"] if drawn else []
    head = ["trial", label, *more, *shown, "latency", "budget", "parameters", "choices"]
    rows = [
        [
            str(record.number),
            f"{record.accuracy:.4f}",
            *((_ends(record.interval), _behind(record, winner)) if drawn else ()),
            *(f"{_metrics(record)[m]:.4f}" if m in _metrics(record) else "" for m in shown),
            latency_text(record),
            _budget(record, outcome.budget_ms),
            millions(record),
            record.params_text,
        ]
        for record in outcome.pareto
    ]
    return head, rows


def _ends(interval: tuple[float, float] | None, sign: str = "") -> str:
    return f"{interval[0]:{sign}.4f} to {interval[1]:{sign}.4f}" if interval is not None else ""


def _behind(record: TrialRecord, winner: TrialRecord | None) -> str:
    """What the winner's accuracy is above another's, with the same scenes drawn for both."""
    if winner is None or record.number == winner.number:
        return ""
    return _ends(winner.gain_over(record), "+")


def _budget(record: TrialRecord, budget_ms: float) -> str:
    if (record.upper_ms or 0) <= budget_ms:
        return "within"
    return "until measured" if record.latency is not None and record.latency.kind == "predicted" else "not certain"


def trial_rows(outcome: Outcome, label: str) -> tuple[list[str], Rows]:
    """Head and rows of all trials."""
    head = ["trial", "state", label, "epochs", "latency", "parameters", "choices", "reason", "s"]
    rows = []
    for record in outcome.records:
        copied = f" (as trial {record.duplicate_of})" if record.duplicate_of is not None else ""
        rows.append(
            [
                str(record.number),
                record.state + copied,
                f"{record.last_accuracy:.4f}" if record.last_accuracy is not None else "",
                str(record.last_epoch or ""),
                latency_text(record),
                millions(record),
                record.params_text,
                record.reason,
                f"{record.seconds:.1f}",
            ]
        )
    return head, rows


def write_csv(path: Path, records: Sequence[TrialRecord]) -> None:
    """Trials as a CSV file: one column a metric and a choice, numbers without units."""
    metrics = [m for m in _figures() if any(m in _metrics(record) for record in records)]
    names = list(dict.fromkeys(name for record in records for name in record.params))
    head = [
        "trial",
        "state",
        "accuracy",
        *metrics,
        "split",
        "samples",
        "epochs",
        "latency_kind",
        "latency_basis",
        "latency_ms",
    ]
    head += ["lower_ms", "upper_ms", "parameters", *names, "duplicate_of", "reason", "seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for record in records:
        score: dict[str, Any] = record.score or {}
        kind = record.latency.kind if record.latency else None
        basis = record.latency.basis if record.latency else None
        latency = [None if ms is None else round(ms, 4) for ms in _latencies(record)]
        writer.writerow(
            [record.number, record.state, record.last_accuracy]
            + [_metrics(record).get(m) for m in metrics]
            + [score.get("split"), score.get("samples"), record.last_epoch or None, kind, basis, *latency]
            + [record.parameters, *(record.params.get(name) for name in names)]
            + [record.duplicate_of, record.reason, record.seconds]
        )
    write_atomic(path, text.getvalue())


def terminal_table(title: str, head: list[str], rows: Rows) -> Table:
    """A table for the terminal: no figure is cut, the last column wraps."""
    table = Table(title=title)
    for index, name in enumerate(head):
        last = index == len(head) - 1
        table.add_column(escape(name), overflow="fold", no_wrap=not last)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def latency_text(record: TrialRecord) -> str:
    """`34.0 ms [27.2, 44.2] predicted`, and of a measurement whether the network was one engine."""
    latency = record.latency
    if latency is None:
        return ""
    figures = f"{latency.total_ms:.1f} ms [{latency.lower_ms:.1f}, {latency.upper_ms:.1f}] {latency.kind}"
    return f"{figures} {BASIS_WORDS[latency.basis]}" if latency.basis else figures


def millions(record: TrialRecord) -> str:
    """Parameters in millions."""
    return f"{record.parameters / 1e6:.2f} M" if record.parameters is not None else ""


def _latencies(record: TrialRecord) -> tuple[float | None, float | None, float | None]:
    return record.latency_ms, record.lower_ms, record.upper_ms


def _metrics(record: TrialRecord) -> dict[str, float]:
    return record.score["metrics"] if record.score is not None else {}
