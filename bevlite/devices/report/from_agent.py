"""From the agent's answers to a latency report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bevlite.devices.contract import Precision, precision_of, word_of
from bevlite.devices.report.latency import Conditions, LatencyReport, ModuleRow
from bevlite.devices.report.timing import EngineFacts, LayerTime, Measured, Power, Timing
from bevlite.latency.onnx.identity import module_identity
from bevlite.latency.pipeline import PipelineStep


def measured_of(answer: Mapping[str, Any], half_width: float) -> Measured:
    """One module from the answer of a `measure` job."""
    power, idle = answer["power"], answer["idle"]
    return Measured(
        cuda_graph=_timing(answer["graph"], half_width),
        plain=_timing(answer["plain"], half_width),
        h2d_ms=answer["transfers"]["h2d_ms"],
        d2h_ms=answer["transfers"]["d2h_ms"],
        first_frame_ms=answer["first_frame_ms"],
        throughput_qps=answer["throughput_qps"],
        memory_mb=answer["memory_mb"],
        energy_j=answer["energy_j"],
        power=None if power is None else Power.model_validate(power),
        idle_power=None if idle is None else Power.model_validate(idle),
        engine=EngineFacts.model_validate(answer["engine"]),
        layers=tuple(LayerTime(**row, module=scope_of(row["nodes"])) for row in answer["layers"]),
        temperature_before_c=answer["conditions"]["temperature_c"],
        temperature_after_c=answer["conditions_after"]["temperature_c"],
        commands=tuple(tuple(command) for command in answer["commands"]),
        notes=tuple(answer["notes"]),
    )


def row_of(name: str, path: Path, precision: str, conditions: str, measured: Measured) -> ModuleRow:
    """The row of a measured module: median and its interval."""
    timing = measured.timing
    return ModuleRow(
        name=name,
        latency_ms=timing.p50_ms,
        lower_ms=timing.lower_ms,
        upper_ms=timing.upper_ms,
        identity=module_identity(path, precision, conditions),
        kernel_count=len(measured.layers),
        measured=measured,
    )


def conditions_of(answer: Mapping[str, Any]) -> Conditions:
    """Conditions of a board."""
    board, found = answer["board"], answer["conditions"]
    return Conditions(
        power_mode=found["power_mode"],
        tensorrt=board["tensorrt"],
        jetpack=board["jetpack"],
        clocks_locked=found["clocks_locked"],
        temperature_c=found["temperature_c"],
        cuda_graph=answer["graph"] is not None,
        module=board["sku"],
        l4t=board["l4t"],
        cuda=board["cuda"],
        driver=board["driver"],
        dla_cores=board["dla_cores"],
        gpu_clock_mhz=found["gpu_clock_mhz"],
        cpu_governor=found["cpu_governor"],
        emulated=board["emulated"],
    )


def report_of(
    device: str,
    modules: Mapping[str, Path],
    rows: Mapping[str, Measured],
    conditions: Conditions,
    precision: Precision,
    pipeline: Iterable[PipelineStep],
    notes: Sequence[str],
) -> LatencyReport:
    """The report of a measurement. The steps of the pipeline are named as missing: nothing measures them yet."""
    where = place_of(device, conditions)
    listed = tuple(
        row_of(name, modules[name], precision_of(precision, name), where, measured) for name, measured in rows.items()
    )
    missing = tuple(step.name for step in pipeline)
    extra = [f"total: the sum of {len(listed)} engines; not in it: {', '.join(missing)}"] if missing else []
    own = [f"{name}: {note}" for name, measured in rows.items() for note in measured.notes + _engine_notes(measured)]
    return LatencyReport(
        kind="emulated" if conditions.emulated else "measured",
        device=device,
        precision=word_of(precision),
        conditions=conditions,
        modules=listed,
        total_ms=sum(row.latency_ms for row in listed),
        lower_ms=sum(row.lower_ms for row in listed),
        upper_ms=sum(row.upper_ms for row in listed),
        notes=tuple(dict.fromkeys([*notes, *own, *extra])),
        missing=missing,
    )


def place_of(device: str, conditions: Conditions) -> str:
    """The conditions that two figures must share to be compared, as one word: it goes into a module's identity."""
    runtime = conditions.runtime or f"tensorrt-{conditions.tensorrt}"
    where = f"{conditions.module or device}/{conditions.power_mode}/{runtime}"
    return f"emulated/{where}" if conditions.emulated else where


def scope_of(nodes: Iterable[str]) -> str:
    """The part of the network that most of a layer's ONNX nodes lie in: the first word of their path."""
    words = Counter(node.strip("/").split("/")[0] for node in nodes if "/" in node)
    return words.most_common(1)[0][0] if words else ""


def _timing(figures: Mapping[str, Any] | None, half_width: float) -> Timing | None:
    return None if figures is None else Timing.of_runs(figures["runs_ms"], half_width)


def _engine_notes(measured: Measured) -> tuple[str, ...]:
    engine = measured.engine
    if engine is None:
        return ()
    fallen = engine.dla_fallbacks
    more = (f"left the DLA for the GPU: {', '.join(fallen)}",) if fallen else ()
    return engine.notes + more
