"""Smaller networks from trained ones: prune, quantize, train on, and what it cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bevlite.api.networks import run_path
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.compression.calibration import Method
    from bevlite.compression.choice import Guide
    from bevlite.compression.compress import By, Compressed, Mix
    from bevlite.compression.importance import Importance
    from bevlite.compression.ledger import Line
    from bevlite.compression.prune import Pruned
    from bevlite.compression.quantize import Quantized
    from bevlite.run_folder import Run
    from bevlite.training.recipe import Recipe

PathLike = str | os.PathLike[str]


def prune(
    run: Run | PathLike,
    *,
    ratios: Mapping[str, float] | None = None,
    budget_ms: float | None = None,
    remove: Mapping[str, int | None] | Iterable[str] = (),
    heads: Mapping[str, int] | None = None,
    guide: Guide = "latency",
    importance: Importance = "l2",
    samples: int = 32,
    sensitivity: PathLike | None = None,
    align: int = 8,
    most: float | None = None,
    keep: Iterable[str] = (),
    stage: str | None = None,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    say: Callable[[str], None] | None = None,
) -> Pruned:
    """Remove blocks, heads and channels of a trained network; what is left is its stage `pruned`, not trained yet.

    Args:
        run: a run, or its folder.
        ratios: share to remove by module or layer, with wildcards: `{"camera.backbone": 0.25}`; the longest name wins.
        budget_ms: instead of ratios, a latency that the device is predicted to meet; what goes is chosen over all
            modules at once.
        remove: blocks to take out first, by path, with wildcards; or so many of a row, those that change least of what
            they take: `{"camera.backbone.layers.2.blocks": 2}`. Alone, or with ratios or a budget for what is left.
        heads: that are left of attentions, by path, with wildcards: `{"camera.backbone.layers.2": 8}`. Attentions that
            are not named lose heads as other layers lose channels.
        guide: with a budget: `latency` takes what matters least for the milliseconds that it saves, `macs` for the
            multiply-adds, `uniform` the same share everywhere.
        importance: `l2`, `l1` (weights), `bn` (scales of batch norms) or `taylor` (gradients of the training loss).
        samples: of the training split, for `taylor` and for what blocks change.
        sensitivity: with a budget, a file of `sensitivity`: what was measured says how much each layer needs, and
            importance which of its channels go.
        align: what is left of a layer is a multiple of it.
        most: the largest share that a layer may lose: 0.75 by default, and half for a budget by norms alone, which do
            not know how much a layer needs.
        keep: modules or layers that stay whole, with wildcards.
        stage: which weights to start from; None for those of training.
        device: whose latency counts: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        power_mode: nvpmodel mode; empty for MAXN.
        say: told of each step.

    Returns:
        The pruned variant (its `compression` rebuilds it), sizes before and after, channels (or heads) of each
        group, blocks that went.

    Raises:
        BevliteError: not a run, no weights, ratios or a budget that cannot be followed.
    """
    from bevlite.api.predicting import predicted_board
    from bevlite.compression.choice import Limits, usual_most
    from bevlite.compression.prune import Plan, prune_run

    measured = Path(sensitivity) if sensitivity is not None else None
    usual = usual_most(guide, budget=budget_ms is not None, measured=measured is not None)
    limits = Limits(align, usual if most is None else most, tuple(keep))
    blocks = dict(remove) if isinstance(remove, Mapping) else dict.fromkeys(remove)
    plan = Plan(
        dict(ratios or {}), budget_ms, guide, importance, samples, limits, measured, remove=blocks,
        heads=dict(heads or {}),
    )  # fmt: skip
    board = predicted_board(device, "", tensorrt, power_mode)
    return prune_run(run_path(run), plan, board, stage=stage, say=say or (lambda _: None))


def finetune(
    run: Run | PathLike,
    *,
    recipe: Recipe | PathLike | None = None,
    recipe_overrides: Iterable[str] = (),
    devices: int = 1,
    evaluate: bool = True,
    progress: bool = True,
) -> Run:
    """Train the pruned or imported network of a run on, into its stage `finetuned`; the same call goes on after a stop.

    Args:
        run: a run, or its folder.
        recipe: a recipe, or its file; None for a quarter of the epochs of the run's own, at 0.3 of its rate. An
            imported network has none.
        recipe_overrides: settings of the recipe, `a.b=c`.
        devices: GPUs (or CPU processes).
        evaluate: score the validation split at the end.
        progress: print a line an epoch.

    Raises:
        ConfigError: a recipe that is wrong.
        BevliteError: nothing was pruned or imported, unusable data, a loss that is not finite.
    """
    from bevlite.compression.finetune import finetune_recipe, finetune_run

    path = run_path(run)
    done = finetune_run(path, _recipe(path, recipe, recipe_overrides, finetune_recipe), devices=devices,
                        progress=progress)  # fmt: skip
    if evaluate:
        _score(path, "finetuned", progress)
    return done


def quantize(
    run: Run | PathLike,
    *,
    precision: Mapping[str, str] | None = None,
    method: Method = "percentile",
    percentile: float = 99.99,
    samples: int = 64,
    sensitivity: PathLike | None = None,
    max_drop: float | None = None,
    budget_ms: float | None = None,
    stage: str | None = None,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    out: PathLike | None = None,
    evaluate: bool = True,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> Quantized:
    """Bring a trained network to INT8 without training: its stage `calibration`, weights with a scale for each tensor.

    Args:
        run: a run, or its folder.
        precision: by pattern of modules and layers: `{"camera": "int8"}`; None for INT8 wherever it is worth trying.
        method: how large a value INT8 is to hold: `max`, `percentile`, `entropy` (TensorRT's) or `mse`.
        percentile: for that method, in %.
        samples: of the training split.
        sensitivity: a file of the function `sensitivity` (`quantize=True`): layers that save no time in INT8, or lose
            most for it, go back to FP16.
        max_drop: with it, the share of the accuracy that what stays in INT8 may be expected to lose (0.02).
        budget_ms: with it, the latency that the device is predicted to meet still.
        stage: which weights to start from; None for the last ones before quantization.
        device: whose latency counts: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        power_mode: nvpmodel mode; empty for MAXN.
        out: also draw there (PNG) which layer runs in what, and for how long.
        evaluate: score the validation split at the end.
        progress: show it.
        say: told of each step.

    Returns:
        The variant with a word for every layer, the layers in INT8, why others stay in FP16, layers whose values come
        near to the largest of FP16, and what was chosen by `sensitivity` (`.mixed`, with what could not be met).

    Raises:
        BevliteError: not a run, no weights, no layer for INT8, unusable data, values that are not finite.
    """
    from bevlite.api.predicting import predicted_board
    from bevlite.compression.mixed import MixedLimits
    from bevlite.compression.quantize import Calibration, quantize_run

    path = run_path(run)
    measured = Path(sensitivity) if sensitivity is not None else None
    limits = MixedLimits(max_drop, budget_ms)
    how = Calibration(dict(precision or {}), method, percentile, samples, measured, limits)
    board = predicted_board(device, "", tensorrt, power_mode)
    made = quantize_run(path, how, stage=stage, board=board, say=say or (lambda _: None))
    if out is not None:
        from bevlite.compression.mixed import SAVES_NOTHING
        from bevlite.compression.precision_map import precision_map
        from bevlite.reporting.precision_map import draw_precision_map

        dear = [layer for layer, why in (made.mixed.floats if made.mixed else {}).items() if why != SAVES_NOTHING]
        rows = precision_map(made.variant, made.floats, board, dear)
        draw_precision_map(rows, Path(out), f"{path.name}: what each layer computes in", board.name)
    if evaluate:
        _score(path, "calibration", progress)
    return made


def qat(
    run: Run | PathLike,
    *,
    recipe: Recipe | PathLike | None = None,
    recipe_overrides: Iterable[str] = (),
    devices: int = 1,
    evaluate: bool = True,
    progress: bool = True,
) -> Run:
    """Train a calibrated network on with the values that INT8 leaves it; the result is its stage `qat`. The same call
    goes on after a stop.

    Args:
        run: a run, or its folder.
        recipe: a recipe, or its file; None for at most 5 epochs after the run's own, at a tenth of its rate.
        recipe_overrides: settings of the recipe, `a.b=c`.
        devices: GPUs (or CPU processes).
        evaluate: score the validation split at the end.
        progress: print a line an epoch.

    Raises:
        ConfigError: a recipe that is wrong.
        BevliteError: nothing was calibrated, unusable data, a loss that is not finite or grows: the calibrated weights
            stay.
    """
    from bevlite.compression.qat import qat_recipe, qat_run

    path = run_path(run)
    done = qat_run(path, _recipe(path, recipe, recipe_overrides, qat_recipe), devices=devices, progress=progress)
    if evaluate:
        _score(path, "qat", progress)
    return done


def _recipe(
    path: Path, given: Recipe | PathLike | None, overrides: Iterable[str], own: Callable[[Run], Recipe]
) -> Recipe:
    """A recipe as it was given, or after that of the run, with settings."""
    from bevlite.config import apply_overrides, as_dict, validate
    from bevlite.run_folder import Run
    from bevlite.training.recipe import Recipe, load_recipe

    settings = list(overrides)
    if given is None:
        how = own(Run(path))
        return validate(apply_overrides(as_dict(how), settings), Recipe, "recipe") if settings else how
    Run(path).variant()  # imports its parts, whose losses the recipe weighs
    return given if isinstance(given, Recipe) else load_recipe(given, settings)


def _score(path: Path, stage: str, progress: bool) -> None:
    """Score a stage."""
    from bevlite.evaluation.run import evaluate_run

    evaluate_run(path, stage=stage, progress=progress)


def compress(
    run: Run | PathLike,
    *,
    budget_ms: float,
    max_drop: float = 0.03,
    max_pruning_drop: float = 0.015,
    max_quantization_drop: float = 0.02,
    guide: By = "measured",
    samples: int = 100,
    method: Method = "percentile",
    calibration_samples: int = 64,
    mixed: Mix = "part",
    finetune_overrides: Iterable[str] = (),
    qat_overrides: Iterable[str] = (),
    devices: int = 1,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    power_mode: str = "",
    out: PathLike | None = None,
    say: Callable[[str], None] | None = None,
) -> Compressed:
    """From a trained run to one that fits, in one go; the same call goes on where it was stopped.

    Score, prune for the budget, train on, calibrate for INT8, put back to FP16 what that costs most where it lost too
    much, train on with INT8's values where that is not enough, export, score the exported files. A stage that loses
    more than it may ends it.

    Args:
        run: a run, or its folder.
        budget_ms: latency in INT8 that the device is predicted to meet.
        max_drop: the most that may be lost in all, relative, as a share.
        max_pruning_drop: the most that pruning may lose.
        max_quantization_drop: the most that quantization may lose against what came before it.
        guide: what pruning goes by: `measured` cuts and scores every layer first; `latency`, `macs`, `uniform`.
        samples: of the training split, on which cuts are measured.
        method: of the calibration: `max`, `percentile`, `entropy`, `mse`.
        calibration_samples: of the training split.
        mixed: what goes back to FP16 as one where INT8 loses too much: a `part`, a `layer`, or nothing (`no`).
        finetune_overrides: settings of the recipe of training on, `a.b=c`.
        qat_overrides: settings of the recipe of training with INT8's values.
        devices: GPUs (or CPU processes).
        device: whose latency counts: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        power_mode: nvpmodel mode; empty for MAXN.
        out: draw the ledger there (PNG).
        say: told of each step.

    Returns:
        The lines of the ledger, and why it stopped (empty where all limits are kept).

    Raises:
        BevliteError: not a run, no weights, a budget that cannot be met, another goal than the one that was begun.
    """
    from bevlite.api.predicting import predicted_board
    from bevlite.compression.compress import Goal, compress_run
    from bevlite.compression.ledger import Allowed
    from bevlite.reporting.ledger import draw_ledger

    goal = Goal(
        budget_ms, Allowed(max_pruning_drop, max_quantization_drop, max_drop), guide, samples, method,
        calibration_samples, mixed, tuple(finetune_overrides), tuple(qat_overrides),
    )  # fmt: skip
    board = predicted_board(device, "", tensorrt, power_mode)
    path = run_path(run)
    made = compress_run(path, goal, board, devices=devices, say=say or (lambda _: None))
    if out is not None:
        draw_ledger(made.lines, Path(out), f"{path.name}: from stage to stage", max_drop)
    return made


def ledger(
    run: Run | PathLike,
    *,
    max_pruning_drop: float = 0.015,
    max_quantization_drop: float = 0.02,
    max_drop: float = 0.03,
    predict: bool = True,
    device: str = "agx-orin-64gb",
    tensorrt: str = DEFAULT_VERSION,
    out: PathLike | None = None,
) -> list[Line]:
    """What a run was worth after each stage, what it costs there, and whether too much was lost.

    Args:
        run: a run, or its folder; scored by `evaluate`.
        max_pruning_drop: the most that pruning may lose, relative, as a share.
        max_quantization_drop: the most that quantization may lose against what came before it.
        max_drop: the most that may be lost in all.
        predict: predict milliseconds too.
        device: for which board: a name in configs/devices, or a YAML file.
        tensorrt: the version on it.
        out: also draw it there (PNG).

    Returns:
        A line a stage and backend; `.over` says what limit it breaks and what to try, or is empty.

    Raises:
        BevliteError: not a run, no ledger, a ledger of another run.
    """
    from bevlite.api.predicting import predicted_board
    from bevlite.compression.ledger import Allowed, read_ledger
    from bevlite.reporting.ledger import draw_ledger

    allowed = Allowed(max_pruning_drop, max_quantization_drop, max_drop)
    board = predicted_board(device, "", tensorrt) if predict else None
    lines = read_ledger(run_path(run), allowed, board)
    if out is not None:
        draw_ledger(lines, Path(out), f"{run_path(run).name}: from stage to stage", max_drop)
    return lines
