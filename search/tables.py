"""The trials as tables: for the terminal, for the report, and as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from bevlite.config import write_atomic
from search.outcome import Outcome
from search.records import TrialRecord

Rows = list[list[str]]


def pareto_rows(outcome: Outcome, label: str) -> tuple[list[str], Rows]:
    """Head and rows of the Pareto table."""
    metrics = sorted({key for record in outcome.pareto for key in _headline_metrics(record)})
    head = ["trial", label, *metrics, "latency", "from ms", "to ms", "parameters", "budget", "choices"]
    if metrics == [label]:
        head.remove(label)
    rows = []
    for record in outcome.pareto:
        assert record.latency is not None
        values = _headline_metrics(record)
        accuracy = [] if metrics == [label] else [f"{record.accuracy:.4f}"]
        rows.append(
            [
                str(record.number),
                *accuracy,
                *(f"{values[key]:.4f}" if key in values else "" for key in metrics),
                f"{record.latency.total_ms:.1f} ms ({record.latency.kind})",
                f"{record.latency.lower_ms:.1f}",
                f"{record.latency.upper_ms:.1f}",
                millions(record),
                "within" if record.latency.upper_ms <= outcome.budget_ms else "until measured",
                record.params_text,
            ]
        )
    return head, rows


def trial_rows(outcome: Outcome, label: str) -> tuple[list[str], Rows]:
    """Head and rows of all trials, one column a choice."""
    names = list(dict.fromkeys(name for record in outcome.records for name in record.params))
    head = ["trial", "state", label, "epochs", "latency", "from ms", "to ms", "parameters"]
    head += [*names, "reason", "s"]
    rows = []
    for record in outcome.records:
        latency = record.latency
        copied = f" (as trial {record.duplicate_of})" if record.duplicate_of is not None else ""
        rows.append(
            [
                str(record.number),
                record.state + copied,
                f"{record.last_accuracy:.4f}" if record.last_accuracy is not None else "",
                str(record.last_epoch or ""),
                f"{latency.total_ms:.1f} ms ({latency.kind})" if latency else "",
                f"{latency.lower_ms:.1f}" if latency else "",
                f"{latency.upper_ms:.1f}" if latency else "",
                millions(record),
                *(str(record.params.get(name, "")) for name in names),
                record.reason,
                f"{record.seconds:.1f}",
            ]
        )
    return head, rows


def write_csv(path: Path, head: list[str], rows: Rows) -> None:
    """A table as a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def terminal_table(title: str, head: list[str], rows: Rows) -> Table:
    """A table for the terminal."""
    table = Table(*map(escape, head), title=title)
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def millions(record: TrialRecord) -> str:
    """Parameters in millions."""
    return f"{record.parameters / 1e6:.2f} M" if record.parameters is not None else ""


def _headline_metrics(record: TrialRecord) -> dict[str, float]:
    metrics = record.score["metrics"] if record.score is not None else {}
    return {key: metrics[key] for key in ("NDS", "mAP", "occ_miou") if key in metrics}
