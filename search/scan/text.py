"""What a scan says: counts, quantiles, the fastest and the largest that fit, and a CSV of all variants."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from bevlite.config import write_atomic
from search.scan.result import VERDICTS, ScanResult, ScanRow

BAR = 40
BINS = 12


def scan_lines(result: ScanResult) -> list[str]:
    """The text for the terminal. Every latency is predicted, and said to be."""
    of_all, budget_ms = result.conditions, result.conditions.budget_ms
    of = f" of {of_all.combinations} combinations" if of_all.combinations is not None else ""
    lines = [
        f"{len(result.rows)} variants{of}, predicted for {of_all.device}, {of_all.power_mode}, TensorRT "
        f"{of_all.tensorrt}; nothing was measured",
        f"{result.distinct_modules} distinct modules, {result.seconds:.1f} s",
    ]
    for refused, words in ((result.invalid, "invalid combinations"), (result.failed, "without a prediction")):
        if refused:
            lines.append(f"{len(refused)} {words}, for example: {_params(refused[0].params)}: {refused[0].reason}")
    if result.same_network:
        lines.append(f"{result.same_network} combinations give a network that another gives as well")
    if not result.rows:
        return lines
    lines += ["", f"budget {budget_ms:g} ms"]
    for verdict, words in VERDICTS.items():
        count = result.count(verdict, budget_ms)
        lines.append(f"  {count:7d}  {count / len(result.rows):6.1%}  {words}")
    lines += ["", "quantiles of the latency (ms)"]
    lines.append("  " + "  ".join(f"{share:.0%}: {value:.2f}" for share, value in result.quantiles()))
    lines += ["", *_histogram([row.latency_ms for row in result.rows]), ""]
    lines.append(f"fastest: {_describe(result.fastest)}")
    largest = result.largest_within(budget_ms)
    lines.append(f"largest that surely fits: {_describe(largest)}")
    return lines


def _histogram(values: list[float]) -> list[str]:
    low, high = min(values), max(values)
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int((value - low) / width))] += 1
    lines = []
    for i, count in enumerate(counts):
        bar = "#" * round(BAR * count / max(counts))
        lines.append(f"  {low + i * width:8.2f} to {low + (i + 1) * width:8.2f} ms {count:7d}  {bar}".rstrip())
    return lines


def _describe(row: ScanRow | None) -> str:
    if row is None:
        return "none"
    interval = f"[{row.lower_ms:.2f}, {row.upper_ms:.2f}]"
    return f"predicted {row.latency_ms:.2f} ms {interval}, {row.gflops:.1f} GFLOPs  {_params(row.params)}"


def _params(params: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items())


def write_scan_csv(path: Path, result: ScanResult) -> None:
    """One line a variant, fastest first, then the combinations without a latency and why."""
    choices, budget_ms = list(result.conditions.choices), result.conditions.budget_ms
    names = list(dict.fromkeys(name for row in result.rows for name in row.modules))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    figures = ["latency_ms", "lower_ms", "upper_ms", "gflops", *(f"{name}_ms" for name in names)]
    writer.writerow(["budget", "kind", *figures, *choices, "reason"])
    for row in sorted(result.rows, key=lambda row: row.latency_ms):
        values = [row.latency_ms, row.lower_ms, row.upper_ms, row.gflops]
        cells = [f"{value:.4f}" for value in values]
        cells += [f"{row.modules[name]:.4f}" if name in row.modules else "" for name in names]
        writer.writerow([row.verdict(budget_ms), "predicted", *cells, *_cells(row.params, choices), ""])
    for word, refused in (("invalid", result.invalid), ("failed", result.failed)):
        for one in refused:
            writer.writerow([word, "", *[""] * len(figures), *_cells(one.params, choices), one.reason])
    write_atomic(path, stream.getvalue())


def _cells(params: dict[str, Any], choices: list[str]) -> list[str]:
    values = [params.get(name, "") for name in choices]
    return [value if isinstance(value, str) else json.dumps(value) for value in values]
