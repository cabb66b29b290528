"""How much INT8 costs each part of a network: rounded alone, and alone left in float, and really scored both times.

A loss depends on what else is in INT8: a unit has a first one, on top of the network in float, and a last one, on top
of all the others. Their mean takes the ends of the orders in which units can be rounded (the Shapley value, of which
these are the first and the last term), and of all units sums to about what the whole network loses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from bevlite.compression.costs import Predictions
from bevlite.compression.measured import rank_correlation
from bevlite.compression.measured_int8 import Lost, QuantizationSensitivity, QuantizedUnit
from bevlite.compression.scored import Job, Made, identity_of, require_devices, run_job, score_of, unit_of
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.subset import Samples, Score, loss
from bevlite.evaluation.trials import Entry
from bevlite.inference.torch import TorchNetwork
from bevlite.models.quantization.fake import FakeQuantization
from bevlite.models.quantization.placement import Placement, placement
from bevlite.models.quantization.plan import with_int8
from bevlite.run_folder import QUANTIZED, Run
from bevlite.variant import Variant

Of = Literal["module", "part", "layer"]
OFS: tuple[Of, ...] = get_args(Of)
FLOAT, INT8 = "all in float", "all in INT8"
"""The trials of the network without any unit, and with all."""


@dataclass(frozen=True)
class RoundingPlan:
    """What is tried.

    by: what is a unit: all layers in INT8 of a `module`, of a `part` of it (`camera.backbone`), or one `layer`.
    samples: of a split, by default that of validation.
    """

    by: Of = "layer"
    samples: int = 200
    split: str | None = None

    def __post_init__(self) -> None:
        if self.by not in OFS:
            raise BevliteError(f"by: found '{self.by}'; accepted: {', '.join(OFS)}")


@dataclass(frozen=True)
class _Roundings(Job):
    """Networks with some of the layers of a run in INT8; `trials`: which, by name."""

    board: PredictedDevice
    trials: Mapping[str, frozenset[str]]

    def maker(self, run: Run, variant: Variant, device: torch.device) -> Made:
        """The network with those layers rounded."""
        weights, scales = run.weights(variant, self.stage), run.scales(self.stage)
        assert scales is not None
        places, predictions = placement(variant), Predictions(self.board)

        def make(name: str) -> tuple[TorchNetwork, float]:
            layers = self.trials[name]
            made = TorchNetwork.of_weights(variant, weights, device)
            if layers:
                made.network.quantization = FakeQuantization(made.network, places, layers, scales)
            return made, predictions.of(with_int8(variant, places, layers)).total_ms

        return make


def quantize_sensitivity(
    path: Path,
    plan: RoundingPlan,
    board: PredictedDevice,
    *,
    stage: str | None = None,
    devices: int = 1,
    workers: int = 2,
    say: Callable[[str], None] = lambda _: None,
) -> QuantizationSensitivity:
    """Score every unit of a calibrated run alone in INT8 and alone in float; a trial that is done is not done again.

    Args:
        path: the run folder. Trials lie in its `sensitivity/`.
        plan: what is tried.
        board: whose predicted latency counts.
        stage: which weights and scales: `calibration` (None) or `qat`.
        devices: GPUs (or CPU processes) to share the trials.
        workers: loader processes of each.
        say: told of each trial.

    Raises:
        BevliteError: not a run, one that was not calibrated, unusable data.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    if "calibration" not in run.stages:
        raise BevliteError(f"{path}: not in INT8 yet; accepted: a run that was calibrated (bevlite quantize {path})")
    chosen = run.chosen(stage or "calibration")
    if chosen not in QUANTIZED:
        raise BevliteError(f"sensitivity: stage: found {chosen}; accepted: {', '.join(QUANTIZED)}")
    require_devices(devices)
    variant = run.variant(chosen)
    places = placement(variant)
    layers = places.quantized(variant.compression.precision_of)
    scales = run.scales(chosen) or {}
    missing = [point for point in places.points(layers) if point not in scales]
    if missing or not layers:
        raise BevliteError(
            f"{path}: found {'no scale for ' + missing[0] if missing else 'no layer in INT8'}; accepted: a run that "
            f"was calibrated for its precision plan (bevlite quantize {path})"
        )
    units = units_of(places, layers, plan.by)
    samples = Samples(run, variant, samples=plan.samples, split=plan.split, workers=workers)
    say(f"{len(layers)} layers in INT8, {len(units)} units to try on {len(samples.scored.rows)} samples of "
        f"{len(samples.scenes)} scenes")  # fmt: skip
    trials: dict[str, frozenset[str]] = {FLOAT: frozenset(), INT8: layers}
    for unit, own in units.items():
        trials |= {_alone(unit, plan.by): frozenset(own), _without(unit, plan.by): layers - set(own)}
    identity = identity_of(run, variant, chosen, samples, board) | {
        "kind": "quantize", "plan": dict(variant.compression.precision), "scales": scales
    }  # fmt: skip
    job = _Roundings(path, chosen, tuple(trials), identity, plan.samples, plan.split, workers, board, trials)
    return _result(job, plan, samples, units, variant.network_hash, run_job(job, samples, devices, say))


def units_of(places: Placement, layers: frozenset[str], by: Of) -> dict[str, tuple[str, ...]]:
    """Layers in INT8 by the unit that they are in, in the order of execution."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in places.products:
        if layer in layers:
            unit = unit_of(layer, by)
            found[unit] = (*found.get(unit, ()), layer)
    return found


def _alone(unit: str, by: Of) -> str:
    return f"{unit} alone in INT8, by {by}"


def _without(unit: str, by: Of) -> str:
    return f"{unit} alone in float, by {by}"


def _result(
    job: _Roundings,
    plan: RoundingPlan,
    samples: Samples,
    units: Mapping[str, tuple[str, ...]],
    network_hash: str,
    entries: Mapping[str, Entry],
) -> QuantizationSensitivity:
    whole, all_in = entries[FLOAT], entries[INT8]
    rows = []
    for unit, layers in units.items():
        alone, without = entries[_alone(unit, plan.by)], entries[_without(unit, plan.by)]
        rows.append(
            QuantizedUnit(
                unit=unit,
                layers=layers,
                **_lost(_mean(whole, without), _mean(alone, all_in)).model_dump(),
                first=_lost(score_of(whole), score_of(alone)),
                last=_lost(score_of(without), score_of(all_in)),
                first_ms=whole["predicted_ms"] - alone["predicted_ms"],
                saved_ms=without["predicted_ms"] - all_in["predicted_ms"],
            )
        )
    return QuantizationSensitivity(
        network_hash=network_hash,
        stage=job.stage,
        figure=samples.figure,
        whole=whole["value"],
        whole_ms=whole["predicted_ms"],
        int8=all_in["value"],
        int8_ms=all_in["predicted_ms"],
        lost=_lost(score_of(whole), score_of(all_in)),
        split=samples.split,
        samples=len(samples.scored.rows),
        scenes=len(samples.scenes),
        by=plan.by,
        device=job.board.name,
        tensorrt=job.board.tensorrt,
        power_mode=job.board.power_mode,
        rank_correlation=rank_correlation(rows),
        units=tuple(rows),
    )


def _lost(before: Score, after: Score) -> Lost:
    found = loss(before, after)
    return Lost(loss=found.value, lower=found.lower, upper=found.upper, error=found.error, halves=found.halves)


def _mean(one: Entry, other: Entry) -> Score:
    a, b = score_of(one), score_of(other)
    halves = None
    if a.halves is not None and b.halves is not None:
        halves = ((a.halves[0] + b.halves[0]) / 2, (a.halves[1] + b.halves[1]) / 2)
    return Score((a.value + b.value) / 2, halves, np.mean([a.draws, b.draws], axis=0))
