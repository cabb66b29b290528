"""Rows of measured modules: what is written of each, as it comes."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLUMNS = (
    *("id", "family", "ms", "p10_ms", "p90_ms", "replays", "kernels", "sm_mhz_before", "sm_mhz_after"),
    *("calls_per_replay", "single_call_ms", "other_graph_nodes", "finite", "noisy", "compile_s", "error"),
)
NOISY = 1.3  # p90 over p10

Row = dict[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """The value at a share of the sorted list (linear between neighbours)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(times_ms: Sequence[float]) -> Row:
    """Median, 10th and 90th percentile of one module's times, and whether they lie too far apart."""
    low, high = percentile(times_ms, 0.1), percentile(times_ms, 0.9)
    return {
        "ms": f"{statistics.median(times_ms):.6g}",
        "p10_ms": f"{low:.6g}",
        "p90_ms": f"{high:.6g}",
        "noisy": "yes" if high > NOISY * low else "",
    }


def one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


class Results:
    """The CSV, the conditions beside it, and the kernels of every module.

    With `resume`, what an earlier run measured quietly is not measured again; a noisy row is, and the row with the
    smaller spread stays.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.conditions_path = path.with_suffix(".json")
        self.kernels_path = path.with_name(path.stem + "_kernels.jsonl")
        self.conditions: dict[str, Any] = {"runs": []}
        self.rows: dict[str, Row] = {}
        self.kernels: dict[str, Row] = {}
        if resume and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                self.rows = {row["id"]: dict(row) for row in csv.DictReader(file) if not row["error"]}
            if self.conditions_path.exists():
                self.conditions = json.loads(self.conditions_path.read_text(encoding="utf-8"))
            if self.kernels_path.exists():
                lines = [json.loads(line) for line in self.kernels_path.read_text(encoding="utf-8").splitlines()]
                self.kernels = {line.pop("id"): line for line in lines}
        path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def done(self) -> set[str]:
        """What need not be measured again."""
        return {key for key, row in self.rows.items() if not row["noisy"]}

    def add(self, row: Row) -> None:
        """Write one module at once."""
        kernels = row.pop("kernel_names", None)
        times = row.pop("kernel_times", None)
        known = self.rows.get(row["id"])
        if known is None or known["error"] or (not row.get("error") and _ratio(row) < _ratio(known)):
            self.rows[row["id"]] = {name: row.get(name, "") for name in COLUMNS}
            self.kernels |= {row["id"]: {"kernels": kernels} if times is None else {"us": times}} if kernels else {}
        lines = [json.dumps({"id": key, **value}) for key, value in self.kernels.items()]
        _write(self.kernels_path, "".join(f"{line}\n" for line in lines))
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        _write(self.path, text.getvalue())

    def write_conditions(self) -> None:
        """Write the conditions anew."""
        _write(self.conditions_path, json.dumps(self.conditions, indent=1) + "\n")


def _ratio(row: Row) -> float:
    return float(row["p90_ms"]) / float(row["p10_ms"])


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
