"""What a measurement amounts to beside each limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bevlite.devices.deploy_report import Accuracy, Budgets, LimitRow
from bevlite.devices.figures import Measured
from bevlite.devices.golden import GoldenCheck
from bevlite.devices.report import LatencyReport

DROPS = ("NDS", "occ_miou")
"""The figures whose loss counts, where the network has the head."""


def limits_of(
    budgets: Budgets, latency: LatencyReport, golden: GoldenCheck | None, accuracy: Accuracy | None
) -> tuple[LimitRow, ...]:
    """A row for every limit that was asked."""
    measured = [row.measured for row in latency.modules if row.measured is not None]
    missing = f"; not in it: {', '.join(latency.missing)}" if latency.missing else ""
    p99_ms = sum(module.timing.p99_ms for module in measured)
    basis = f"sum of the P99 of {len(measured)} engines{missing}"
    rows = [LimitRow(name="latency P99", unit="ms", at_most=budgets.latency_ms, found=p99_ms, basis=basis)]
    if budgets.fps is not None:
        fps = 1000 / latency.total_ms if latency.total_ms else None
        basis = f"one frame in flight, from the sum of the medians{missing}"
        rows.append(LimitRow(name="frame rate", unit="1/s", at_least=budgets.fps, found=fps, basis=basis))
    if budgets.power_w is not None:
        rows.append(_power(budgets.power_w, measured))
    if budgets.memory_mb is not None:
        rows.append(_memory(budgets.memory_mb, measured, golden))
    if budgets.drop is not None:
        rows.append(_drop(budgets.drop, accuracy))
    return tuple(rows)


def _power(limit: float, measured: list[Measured]) -> LimitRow:
    """The module that draws most counts: a mean over all of them would hide it."""
    values = [module.power.module_w for module in measured if module.power is not None]
    known = [value for value in values if value is not None]
    found = max(known) if known and len(known) == len(measured) else None
    of = next((module.power.module_of for module in measured if module.power is not None), "")
    basis = f"highest mean of an engine while it runs ({of})" if found is not None else "the rails do not tell"
    return LimitRow(name="power", unit="W", at_most=limit, found=found, basis=basis)


def _memory(limit: float, measured: list[Measured], golden: GoldenCheck | None) -> LimitRow:
    """What all engines took together where the runner saw it, else the sum of what trtexec prints of each."""
    if golden is not None and golden.memory_mb is not None:
        basis = "free memory that engines, contexts and a frame took together"
        return LimitRow(name="memory at peak", unit="MB", at_most=limit, found=golden.memory_mb, basis=basis)
    sizes = [
        module.engine.size_mb + module.memory_mb
        for module in measured
        if module.engine is not None and module.memory_mb is not None
    ]
    found = sum(sizes) if sizes and len(sizes) == len(measured) else None
    basis = "sum of engines and contexts" if found is not None else "trtexec of this version does not print it"
    return LimitRow(name="memory at peak", unit="MB", at_most=limit, found=found, basis=basis)


def _drop(limit: float, accuracy: Accuracy | None) -> LimitRow:
    """The largest loss against the network in torch, over the same split."""
    if accuracy is None or not accuracy.drops:
        return LimitRow(name="accuracy drop", unit="", at_most=limit, found=None, basis="not evaluated")
    name, found = max(accuracy.drops.items(), key=lambda item: item[1])
    basis = f"{name}, torch minus engine, {accuracy.samples} samples of {accuracy.split}"
    return LimitRow(name="accuracy drop", unit="", at_most=limit, found=found, basis=basis)


def drops(torch: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, float]:
    """Loss of each figure that both have (0..1; negative for a gain)."""
    return {name: float(torch[name]) - float(engine[name]) for name in DROPS if name in torch and name in engine}
