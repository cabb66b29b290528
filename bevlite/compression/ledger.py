"""The ledger of a run: what it was worth after each stage, what it costs there, and whether too much was lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bevlite.analysis.complexity import BYTES, layer_costs
from bevlite.compression.costs import Predictions
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.draws import read_draws
from bevlite.run_folder import FLOAT, STAGES, Run, Stage
from bevlite.tasks.contract import TASKS
from bevlite.variant import Variant

PRUNING, QUANTIZATION = ("pruned", "finetuned"), ("calibration", "qat")
ADVICE = {
    PRUNING: "remove less where it costs most (--keep, a larger budget), or train on for longer (bevlite finetune)",
    QUANTIZATION: "keep the layers that lose most in FP16 (compression.precision), or train on with quantization",
}
OTHERWISE = "else lower the resolution, drop a task, or split the network over two boards"


@dataclass(frozen=True)
class Allowed:
    """The most that may be lost, relative, as a share: by pruning, by quantization, and in all."""

    pruning: float = 0.015
    quantization: float = 0.02
    total: float = 0.03

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise BevliteError(f"drop: {name}: found {value:g}; accepted: 0 to 1, a share of the accuracy")


@dataclass(frozen=True)
class Line:
    """One line of the ledger.

    name: as it stands there (`float`, `pruned/onnx`, `float/without lidar`). scores: its accuracies by name.
    weight_mb: of all weights, each in the precision that it is planned in. predicted_ms: None where it was not asked.
    lost: the largest relative loss against `float` over its tasks, each by its first accuracy (NDS of detection); None
    where there is nothing to compare.
    intervals: 95 % of draws of scenes of each accuracy; lost_range: of that loss, both from the same draws. Empty and
    None where nothing was drawn.
    over: what limit it breaks, in words; empty where it keeps them or is not judged.
    """

    name: str
    stage: Stage
    scores: Mapping[str, float]
    parameters: int
    macs: int
    weight_mb: float
    predicted_ms: float | None
    lost: float | None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    lost_range: tuple[float, float] | None = None
    over: str = ""


def read_ledger(path: Path, allowed: Allowed, board: PredictedDevice | None = None) -> list[Line]:
    """The lines of a run's ledger, stage by stage, judged.

    A pruned network is judged once it was trained on, or where nothing comes after it. What a network is worth without
    a sensor, and what an emulated board gave, is listed and not judged.

    Args:
        path: the run folder.
        allowed: the most that may be lost.
        board: predict latencies for it.

    Raises:
        BevliteError: not a run, no ledger, a ledger of another run.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    file = path / "ledger.json"
    if not file.is_file():
        raise BevliteError(f"{file}: no ledger yet; accepted: a run that was scored (bevlite eval {path})")
    try:
        entries: dict[str, dict[str, Any]] = json.loads(file.read_text())
    except ValueError as error:
        raise BevliteError(f"{file}: cannot be read ({error})") from None
    predictions = Predictions(board) if board is not None else None
    costs = {stage: _costs(run.variant(stage), predictions) for stage in run.stages}
    known = [name for task in TASKS.members.values() for name in task.scores.values()]
    drawn = {name: read_draws(path / str(entry["folder"])) for name, entry in entries.items() if "folder" in entry}
    lines: list[Line] = []
    for name in sorted(entries, key=_order):
        stage = _stage(name)
        if stage not in costs:
            raise BevliteError(
                f"{file}: found a line '{name}' of a stage that the run does not hold; accepted: "
                f"{', '.join(run.stages)} (is it the ledger of another run?)"
            )
        scores = {key: float(entries[name][key]) for key in known if key in entries[name]}
        lost, figure = _lost(scores, next((line.scores for line in lines if line.name == FLOAT), None))
        own, start = drawn.get(name), drawn.get(FLOAT)
        between = own.relative_loss(start, figure) if own is not None and start is not None else None
        lines.append(Line(name, stage, scores, *costs[stage], lost, own.intervals if own else {}, between))
    return [_judged(line, lines, allowed) for line in lines]


def _stage(name: str) -> Stage:
    first = name.split("/")[0]
    return next((stage for stage in STAGES if stage == first), FLOAT)


def _order(name: str) -> tuple[int, int, str]:
    stage = _stage(name)
    return STAGES.index(stage), int(name != stage), name


def _costs(variant: Variant, predictions: Predictions | None) -> tuple[int, int, float, float | None]:
    layers = layer_costs(variant)
    stored = sum(one.parameters * BYTES[variant.compression.precision_of(one.path)] for one in layers)
    ms = predictions.of(variant).total_ms if predictions is not None else None
    return sum(one.parameters for one in layers), sum(one.macs for one in layers), stored / 1e6, ms


def _lost(scores: Mapping[str, float], start: Mapping[str, float] | None) -> tuple[float | None, str]:
    """The largest relative loss, and the accuracy that has it; None and nothing where there is nothing to compare."""
    if start is None:
        return None, ""
    first = [next(iter(task.scores.values())) for task in TASKS.members.values() if task.scores]
    compared = [key for key in first if key in scores and start.get(key, 0.0) > 0]
    return max(((1 - scores[key] / start[key], key) for key in compared), default=(None, ""))


def _judged(line: Line, lines: list[Line], allowed: Allowed) -> Line:
    """With what it breaks."""
    later = [one.stage for one in lines if STAGES.index(one.stage) > STAGES.index(line.stage)]
    unfinished = line.stage == "pruned" and "finetuned" in later
    if line.lost is None or line.stage == FLOAT or unfinished or "without" in line.name or "emulated" in line.name:
        return line
    said = []
    if line.stage in PRUNING and line.lost > allowed.pruning:
        said.append(f"pruning may lose {allowed.pruning:.1%}; {ADVICE[PRUNING]}")
    if line.stage in QUANTIZATION:
        # The plain score of the stage before it: no other backend's, and not what is left without a sensor.
        base = next(one for one in reversed(lines) if one.stage not in QUANTIZATION and one.name == one.stage)
        lost, _ = _lost(line.scores, base.scores)
        if lost is not None and lost > allowed.quantization:
            said.append(f"quantization lost {lost:.1%} and may lose {allowed.quantization:.1%}; {ADVICE[QUANTIZATION]}")
    if line.lost > allowed.total:
        said.append(f"in all {allowed.total:.1%} may be lost")
    if not said:
        return line
    return replace(line, over=f"lost {line.lost:.1%}: {'; '.join(said)}; {OTHERWISE}")
