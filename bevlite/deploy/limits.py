"""What a measurement amounts to beside each limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bevlite.devices.golden.golden import GoldenCheck
from bevlite.devices.report.deploy import Accuracy, Budgets, LimitRow
from bevlite.devices.report.latency import LatencyReport
from bevlite.devices.report.timing import Measured
from bevlite.devices.report.whole_frames import WholeFrames
from bevlite.tasks.contract import TASKS


def limits_of(
    budgets: Budgets, latency: LatencyReport, golden: GoldenCheck | None, accuracy: Accuracy | None
) -> tuple[LimitRow, ...]:
    """A row for every limit that was asked."""
    measured = [row.measured for row in latency.modules if row.measured is not None]
    whole = latency.end_to_end
    rows = _of_whole_frames(budgets, whole) if whole is not None and whole.one_in_flight is not None else None
    rows = rows or _of_engines(budgets, latency, measured)
    if budgets.power_w is not None:
        rows.append(_power(budgets.power_w, measured, whole))
    if budgets.memory_mb is not None:
        rows.append(_memory(budgets.memory_mb, measured, golden, whole))
    if budgets.drop is not None:
        rows.append(_drop(budgets.drop, accuracy))
    return tuple(rows)


def _of_whole_frames(budgets: Budgets, whole: WholeFrames) -> list[LimitRow]:
    """Latency and frame rate of whole frames: what is missing of a frame is in neither."""
    one, two = whole.one_in_flight, whole.two_in_flight
    assert one is not None
    missing = _without(whole.missing)
    basis = f"end to end, one frame in flight{missing}"
    rows = [LimitRow(name="latency P99", unit="ms", at_most=budgets.latency_ms, found=one.timing.p99_ms, basis=basis)]
    if budgets.fps is not None:
        beside = f"; with two in flight {two.throughput_fps:.1f} 1/s" if two is not None else ""
        basis = f"end to end, one frame in flight{beside}{missing}"
        rows.append(
            LimitRow(name="frame rate", unit="1/s", at_least=budgets.fps, found=one.throughput_fps, basis=basis)
        )
    return rows


def _of_engines(budgets: Budgets, latency: LatencyReport, measured: list[Measured]) -> list[LimitRow]:
    """The same from engines that were measured alone, where whole frames were not."""
    missing = _without(latency.missing)
    why_not = "not asked for" if latency.end_to_end is None else latency.end_to_end.why_not
    missing += f"; whole frames not measured: {why_not}"
    p99_ms = sum(module.timing.p99_ms for module in measured)
    basis = f"sum of the P99 of {len(measured)} engines{missing}"
    rows = [LimitRow(name="latency P99", unit="ms", at_most=budgets.latency_ms, found=p99_ms, basis=basis)]
    if budgets.fps is not None:
        fps = 1000 / latency.total_ms if latency.total_ms else None
        basis = f"one frame in flight, from the sum of the medians{missing}"
        rows.append(LimitRow(name="frame rate", unit="1/s", at_least=budgets.fps, found=fps, basis=basis))
    return rows


def _without(steps: Sequence[str]) -> str:
    return f"; not in it: {', '.join(steps)}" if steps else ""


def _power(limit: float, measured: Sequence[Measured], whole: WholeFrames | None) -> LimitRow:
    """What draws most counts, an engine or whole frames one by one: a mean over all of them would hide it."""
    known = measured_power(measured)
    one = whole.one_in_flight if whole is not None else None
    in_frames = one.power.module_w if one is not None and one.power is not None else None
    found = known if known is None or in_frames is None else max(known, in_frames)
    of = next((module.power.module_of for module in measured if module.power is not None), "")
    what = "an engine or of whole frames" if in_frames is not None else "an engine"
    basis = f"highest mean of {what} in a run ({of})" if found is not None else "the rails do not tell"
    return LimitRow(name="power", unit="W", at_most=limit, found=found, basis=basis)


def _memory(limit: float, measured: list[Measured], golden: GoldenCheck | None, whole: WholeFrames | None) -> LimitRow:
    """What all engines took together where a process saw it, else the sum of what trtexec prints of each."""
    one = whole.one_in_flight if whole is not None else None
    two = whole.two_in_flight if whole is not None else None
    if one is not None and one.memory_mb is not None:
        beside = f"; two in flight {two.memory_mb:.0f} MB" if two is not None and two.memory_mb is not None else ""
        basis = f"free memory that engines, contexts and a frame took together{beside}"
        return LimitRow(name="memory at peak", unit="MB", at_most=limit, found=one.memory_mb, basis=basis)
    if golden is not None and golden.memory_mb is not None:
        basis = "free memory that engines, contexts and a frame took together"
        return LimitRow(name="memory at peak", unit="MB", at_most=limit, found=golden.memory_mb, basis=basis)
    found = measured_memory(measured)
    basis = "sum of engines and contexts" if found is not None else "trtexec of this version does not print it"
    return LimitRow(name="memory at peak", unit="MB", at_most=limit, found=found, basis=basis)


def measured_power(measured: Sequence[Measured]) -> float | None:
    """W of the engine that draws most; None where the rails do not tell of all."""
    values = [module.power.module_w for module in measured if module.power is not None]
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(measured) else None


def measured_memory(measured: Sequence[Measured]) -> float | None:
    """MB of engines and contexts; None where trtexec did not print it of all."""
    sizes = [
        module.engine.size_mb + module.memory_mb
        for module in measured
        if module.engine is not None and module.memory_mb is not None
    ]
    return sum(sizes) if sizes and len(sizes) == len(measured) else None


def _drop(limit: float, accuracy: Accuracy | None) -> LimitRow:
    """The largest loss against the network in torch, over the same split."""
    if accuracy is None or not accuracy.drops:
        return LimitRow(name="accuracy drop", unit="NDS or mIoU", at_most=limit, found=None, basis="not evaluated")
    name, found = max(accuracy.drops.items(), key=lambda item: item[1])
    basis = f"{name}, torch minus engine, {accuracy.samples} samples of {accuracy.split}"
    return LimitRow(name="accuracy drop", unit=name, at_most=limit, found=found, basis=basis)


def drops(torch: Mapping[str, Any], engine: Mapping[str, Any]) -> dict[str, float]:
    """Loss of each task's first score, where both have it (0..1; negative for a gain)."""
    firsts = [next(iter(task.scores.values()), "") for task in TASKS.members.values()]
    return {name: float(torch[name]) - float(engine[name]) for name in firsts if name in torch and name in engine}
