"""From a trained run to one that fits, in one go: prune, train on, quantize, train on where needed, export, and judge.

Every step leaves a stage of the run and a line in `compress.json`; the same call after a kill goes on with the first
step that is not there. A stage that loses more than it may stops the chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from bevlite.compression.advice import ways_out
from bevlite.compression.calibration import METHODS, Method
from bevlite.compression.choice import Limits, usual_most
from bevlite.compression.costs import Predictions
from bevlite.compression.finetune import finetune_recipe, finetune_run
from bevlite.compression.ledger import Allowed, Line, read_ledger
from bevlite.compression.mixed import MixedLimits
from bevlite.compression.prune import Plan, prune_run
from bevlite.compression.qat import qat_recipe, qat_run
from bevlite.compression.quantize import Calibration, quantize_run
from bevlite.compression.scored import weights_digest
from bevlite.compression.sensitivity import CutPlan, prune_sensitivity
from bevlite.compression.sensitivity_int8 import RoundingPlan, quantize_sensitivity
from bevlite.config import apply_overrides, as_dict, validate, write_atomic
from bevlite.devices.predicted import PredictedDevice
from bevlite.errors import BevliteError
from bevlite.evaluation.run import evaluate_run
from bevlite.export.run import export_run
from bevlite.models.quantization.plan import in_int8
from bevlite.run_folder import FLOAT, Run, Stage
from bevlite.training.recipe import Recipe

STATE = "compress.json"
By = Literal["measured", "latency", "macs", "uniform"]
BYS: tuple[By, ...] = get_args(By)
Mix = Literal["no", "part", "layer"]
MIXES: tuple[Mix, ...] = get_args(Mix)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Goal:
    """What is wanted, and how it is sought.

    budget_ms: predicted latency of the network in INT8 on the board. allowed: the most that may be lost.
    guide: what pruning goes by; `measured` really cuts and scores each layer first, on `samples` of the training split.
    mixed: where INT8 loses too much, what it costs by part or by layer is measured on as many samples, and what is
    dearest goes back to FP16 as far as the budget goes. method, calibration_samples: of the calibration. finetune, qat:
    settings of their recipes, `a.b=c`.
    """

    budget_ms: float
    allowed: Allowed = field(default_factory=Allowed)
    guide: By = "measured"
    samples: int = 100
    method: Method = "percentile"
    calibration_samples: int = 64
    mixed: Mix = "part"
    finetune: tuple[str, ...] = ()
    qat: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.guide not in BYS:
            raise BevliteError(f"guide: found '{self.guide}'; accepted: {', '.join(BYS)}")
        if self.method not in METHODS:
            raise BevliteError(f"method: found '{self.method}'; accepted: {', '.join(METHODS)}")
        if self.mixed not in MIXES:
            raise BevliteError(f"mixed: found '{self.mixed}'; accepted: {', '.join(MIXES)}")
        Plan(budget_ms=self.budget_ms)
        CutPlan(samples=self.samples)
        Calibration(samples=self.calibration_samples)


@dataclass(frozen=True)
class Compressed:
    """What came of it: the lines of the ledger, and why it stopped; empty where all limits are kept.

    ways: what else would make the network fit, with predicted milliseconds, where it stopped.
    """

    lines: tuple[Line, ...]
    stopped: str = ""
    ways: tuple[str, ...] = ()


def compress_run(
    path: Path, goal: Goal, board: PredictedDevice, *, devices: int = 1, say: Say = lambda _: None
) -> Compressed:
    """Bring a run within a budget; goes on where it was stopped.

    Args:
        path: a run folder with trained weights.
        goal: what is wanted.
        board: whose predicted latency counts.
        devices: GPUs (or CPU processes).
        say: told of each step.

    Raises:
        BevliteError: not a run, no weights, a budget that cannot be met, another goal than the one that was begun, and
            what any of the steps raises.
    """
    chain = _Chain(path, goal, board, devices, say)
    variant = chain.run.variant(FLOAT)
    say(
        f"{variant.name} ({variant.network_hash}) to {goal.budget_ms:g} ms on {board.name}, {board.power_mode}, "
        f"TensorRT {board.tensorrt}; trained on {devices} device(s)"
    )
    chain.scored(FLOAT)
    if chain.fits():
        chain.without_others()
    else:
        chain.pruned()
        chain.scored("finetuned")
        if stopped := chain.over("finetuned"):
            return chain.stopped(stopped)
    chain.quantized()
    chain.scored("calibration")
    last: Stage = "calibration"
    if chain.over("calibration") and chain.mixed():
        chain.scored("calibration")
    if chain.over("calibration"):
        chain.trained_quantized()
        chain.scored("qat")
        last = "qat"
        if stopped := chain.over("qat"):
            return chain.stopped(stopped)
    chain.exported(last)
    lines = tuple(chain.lines())
    stopped = next((line.over for line in lines if line.over and line.stage == last), "")
    return chain.stopped(stopped) if stopped else Compressed(lines)


class _Chain:
    """One run on its way; what is done already is not done again."""

    def __init__(self, path: Path, goal: Goal, board: PredictedDevice, devices: int, say: Say) -> None:
        self.run, self.goal, self.board, self.devices, self.say = Run(path), goal, board, devices, say
        self.run.variant()  # whether it is a run at all
        self.run.chosen(FLOAT)
        self.file = path / STATE
        wanted: dict[str, Any] = json.loads(json.dumps(asdict(goal))) | {
            "device": board.name, "tensorrt": board.tensorrt, "power_mode": board.power_mode,
            "weights": weights_digest(self.run, FLOAT),
        }  # fmt: skip
        self.state = self._read(wanted)
        self.predictions = Predictions(board)

    def _read(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if not self.file.is_file():
            return {"goal": wanted, "done": {}}
        try:
            state: dict[str, Any] = json.loads(self.file.read_text())
            begun, _ = state["goal"], state["done"]
        except (ValueError, KeyError, TypeError):
            raise BevliteError(
                f"{self.file}: cannot be read; accepted: a file that `compress` wrote, or none"
            ) from None
        other = [key for key in wanted if begun.get(key) != wanted[key]]
        if other:
            raise BevliteError(
                f"{self.file}: {other[0]}: found {wanted[other[0]]}, begun with {begun.get(other[0])}; accepted: the "
                "same goal, or a new start (remove that file: pruned weights are made again)"
            )
        return state

    def _done(self, step: str, facts: Mapping[str, Any] | None = None) -> None:
        self.state["done"][step] = dict(facts or {})
        write_atomic(self.file, json.dumps(self.state, indent=1) + "\n")

    def _is_done(self, step: str) -> bool:
        return step in self.state["done"]

    def fits(self) -> bool:
        """Whether the whole network meets the budget in INT8."""
        ms = self.predictions.of(in_int8(self.run.variant(FLOAT), {})).total_ms
        fits = ms <= self.goal.budget_ms
        word = "nothing has to be pruned" if fits else "to be pruned"
        self.say(f"{ms:.2f} ms predicted in INT8, {self.goal.budget_ms:g} ms to be met: {word}")
        return fits

    def without_others(self) -> None:
        """Stages between the trained weights and INT8 are of another chain: they go, as they do where it prunes."""
        self.run.forget("pruned", "finetuned")

    def pruned(self) -> None:
        """Prune for the budget and train on."""
        if not self._is_done("pruned"):
            self.say("pruning")
            file = self._measured() if self.goal.guide == "measured" else None
            guide: Any = "latency" if self.goal.guide == "measured" else self.goal.guide
            limits = Limits(most=usual_most(guide, budget=True, measured=file is not None))
            plan = Plan(budget_ms=self.goal.budget_ms, guide=guide, limits=limits, sensitivity=file, int8=True)
            made = prune_run(self.run.path, plan, self.board, stage=FLOAT, say=self.say)
            self._done("pruned", {"before": vars(made.before), "after": vars(made.after)})
        if "finetuned" not in self.run.stages:
            self.say("training on")
            recipe = _with(finetune_recipe(self.run), self.goal.finetune)
            finetune_run(self.run.path, recipe, devices=self.devices)

    def _measured(self) -> Path:
        """What cuts of each layer cost, on the training split: what is judged by is another one."""
        plan = CutPlan(samples=self.goal.samples, split=str(self.run.data().train_split))
        found = prune_sensitivity(self.run.path, plan, self.board, stage=FLOAT, devices=self.devices, say=self.say)
        file = self.run.path / "sensitivity" / "prune.json"
        found.write(file)
        return file

    def quantized(self) -> None:
        """Calibrate; what was calibrated so before is kept, and so are layers that went back to FP16."""
        if self._is_done("mixed") and "calibration" in self.run.stages:
            return
        self.say("calibrating")
        made = quantize_run(self.run.path, self._calibration(), say=self.say)
        self._done("calibration", {"int8": len(made.int8), "overflows": dict(made.overflows)})

    def _calibration(self) -> Calibration:
        return Calibration(method=self.goal.method, samples=self.goal.calibration_samples)

    def mixed(self) -> bool:
        """Back to FP16 with what loses most for its milliseconds, within the budget; whether anything went back."""
        if self.goal.mixed == "no" or self._is_done("mixed"):
            return False
        self.say("INT8 loses too much: measuring what each part of it costs")
        by: Any = self.goal.mixed
        plan = RoundingPlan(by=by, samples=self.goal.samples, split=str(self.run.data().train_split))
        table = quantize_sensitivity(
            self.run.path, plan, self.board, stage="calibration", devices=self.devices, say=self.say
        )
        file = self.run.path / "sensitivity" / "quantize.json"
        table.write(file)
        if table.whole <= 0:
            self._done("mixed", {"floats": {}, "why": f"found {table.figure} {table.whole:g} on training samples"})
            return False
        limits = MixedLimits(self.goal.allowed.quantization, self.goal.budget_ms)
        how = replace(self._calibration(), sensitivity=file, limits=limits)
        made = quantize_run(self.run.path, how, board=self.board, say=self.say)
        assert made.mixed is not None
        self._done("mixed", {"floats": made.mixed.floats, "missed": made.mixed.missed})
        return bool(made.mixed.floats)

    def trained_quantized(self) -> None:
        """Train on with INT8's values."""
        if "qat" not in self.run.stages:
            self.say("training on with INT8's values")
            recipe = _with(qat_recipe(self.run), self.goal.qat)
            qat_run(self.run.path, recipe, devices=self.devices)

    def exported(self, stage: Stage) -> None:
        """Export, and score what was exported on integer kernels."""
        if not self._is_done("exported"):
            self.say("exporting")
            export_run(self.run.path, stage=stage)
            self.say("scoring the exported files in ONNX Runtime")
            evaluate_run(self.run.path, backend="onnx", stage=stage)
            self._done("exported", {"stage": stage})

    def scored(self, stage: Stage) -> None:
        """Score a stage that has no line in the ledger."""
        ledger = self.run.path / "ledger.json"
        if not ledger.is_file() or stage not in json.loads(ledger.read_text()):
            data = self.run.data()
            self.say(f"scoring {stage} on {data.val_split} of {data.root}")
            evaluate_run(self.run.path, stage=stage)

    def stopped(self, why: str) -> Compressed:
        """With what else would help."""
        planned = in_int8(self.run.variant(), {})
        return Compressed(tuple(self.lines()), why, tuple(ways_out(planned, self.board)))

    def lines(self) -> list[Line]:
        """The ledger so far."""
        return read_ledger(self.run.path, self.goal.allowed, self.board)

    def over(self, stage: Stage) -> str:
        """What limit a stage breaks; empty where it keeps them."""
        lines = read_ledger(self.run.path, self.goal.allowed)  # without milliseconds: a limit of accuracy needs none
        return next((line.over for line in lines if line.name == stage), "")


def _with(recipe: Recipe, settings: tuple[str, ...]) -> Recipe:
    return validate(apply_overrides(as_dict(recipe), settings), Recipe, "recipe") if settings else recipe
