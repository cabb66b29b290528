"""Per-layer times: `--dumpProfile` and `--exportProfile`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.noise import JITTER
from bevlite.simulation.jetson.trtexec.log import Log

PROFILING_OVERHEAD_MS = 0.003
"""What the events around a layer add; profiled layers therefore sum to more than the unprofiled run."""


@dataclass(frozen=True)
class LayerTimes:
    """One layer over all iterations, ms."""

    name: str
    total: float
    average: float
    median: float


def profile_layers(
    names: list[str], layer_ms: list[float], count: int, source: np.random.Generator
) -> list[LayerTimes]:
    """Times of every layer over `count` iterations of the profiled run."""
    out = []
    for name, base in zip(names, layer_ms, strict=True):
        noise = 1.0 + np.abs(source.normal(0.0, 4 * JITTER, count))
        times = (base + PROFILING_OVERHEAD_MS) * noise
        out.append(LayerTimes(name, float(times.sum()), float(times.mean()), float(np.median(times))))
    return out


def profile_json(layers: list[LayerTimes], count: int) -> str:
    """The document of `--exportProfile`; names are not escaped, as in trtexec."""
    total = sum(n.total for n in layers)
    rows = [f'  {{ "count" : {count} }}\n']
    for n in layers:
        share = "-nan" if total == 0 else f"{n.total / total * 100:g}"
        rows.append(
            f', {{ "name" : "{n.name}", "timeMs" : {n.total:g}, "averageMs" : {n.average:g}, '
            f'"medianMs" : {n.median:g}, "percentage" : {share} }}\n'
        )
    return "[\n" + "".join(rows) + "]\n"


def print_profile(log: Log, layers: list[LayerTimes], count: int, release: Release) -> None:
    """The table; up to 8.5 the name comes first."""
    total = sum(n.total for n in layers) or 1.0
    rows = [(n.name, f"{n.total:11.2f}{n.average:14.4f}{n.median:13.4f}{n.total / total * 100:10.1f}") for n in layers]
    rows.append(("Total", f"{total:11.2f}{total / count:14.4f}{sum(n.median for n in layers):13.4f}{100.0:10.1f}"))
    header = "   Time(ms)     Avg.(ms)   Median(ms)   Time(%)"
    width = max(len(name) for name, _ in rows) + 3
    log.info("", f"=== Profile ({count} iterations ) ===")
    if release.number < 8600:
        log.info(f"{'Layer':>{width}}{header}", *(f"{name:>{width}}{numbers}" for name, numbers in rows))
    else:
        log.info(f"{header}   Layer", *(f"{numbers}   {name}" for name, numbers in rows))
    log.info("")
