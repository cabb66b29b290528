"""What was measured on a board beside what its package promises, and beside its limits."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from bevlite.agent.protocol import statistics
from bevlite.board.fit import Row

LIMITS = {"latency_ms": "latency_p99_ms", "power_w": "power_w", "memory_mb": "memory_mb"}
"""Limits that a figure may not exceed, and that figure."""


def figures_of(answer: Mapping[str, Any]) -> dict[str, float]:
    """P50 and P99 of whole frames (ms), frames a second, power (W) and memory (MB), from the job `time_frames`."""
    runs = answer["runs"]
    latencies = [value for run in runs for value in run["one"]["latency_ms"]]
    power = (answer["power"]["one"] or {}).get("module_w")
    found = {
        "latency_p50_ms": statistics.median(latencies),
        "latency_p99_ms": statistics.percentile(latencies, 99),
        "memory_mb": max(run["memory_mb"] for run in runs),
        "fps": len(latencies) / sum(run["one"]["seconds"] for run in runs),
    }
    return found if power is None else dict(found, power_w=power)


def kept(promise: Mapping[str, Any], limits: Mapping[str, float], found: Mapping[str, float]) -> Iterator[Row]:
    """A line for every figure that is promised, and for every limit."""
    for name, row in promise["figures"].items():
        most = float(row.get("upper", row["value"] * (1 + promise["margin"])))
        words = f"{row['value']:.3f} {row['unit']} {promise['kind']}"
        yield _row(f"promise: {name}", found.get(name), most, f"at most {most:.3f} ({words})")
    for name, value in limits.items():
        if name == "fps":
            fps = found.get("fps")
            good = fps is not None and fps >= value
            yield Row("limit: fps", good, f"{_shown(fps)}; accepted: at least {value:g}")
        elif name in LIMITS:
            yield _row(f"limit: {name}", found.get(LIMITS[name]), value, f"at most {value:g}")


def _row(name: str, found: float | None, most: float, words: str) -> Row:
    return Row(name, found is not None and found <= most, f"{_shown(found)}; accepted: {words}")


def _shown(found: float | None) -> str:
    return "not known" if found is None else f"{found:.3f}"
