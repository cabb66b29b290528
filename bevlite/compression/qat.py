"""Quantization-aware training: a calibrated network learns on with the values that INT8 leaves it."""

from __future__ import annotations

import json
from pathlib import Path

from bevlite.errors import BevliteError, TrainingError
from bevlite.run_folder import FLOAT, INNER, Run
from bevlite.training.checkpoints import save_weights
from bevlite.training.loop import train
from bevlite.training.recipe import Recipe, load_recipe

EPOCHS, RATE = 5, 0.1
"""Epochs at most, and the share of the learning rate: what NVIDIA's quantization of BEVFusion and of ResNet takes."""
WORSE = 1.5
"""Times the loss of the first epoch at which training has gone wrong."""


def qat_recipe(run: Run) -> Recipe:
    """The recipe of a run: short, at a low rate, without warm-up, with images as they are (raises ConfigError)."""
    run.variant()  # imports its parts, whose losses the recipe weighs
    recipe = load_recipe(run.path / "recipe.yaml")
    return recipe.model_copy(
        update={
            "epochs": min(recipe.epochs, EPOCHS),
            "learning_rate": recipe.learning_rate * RATE,
            "warmup_steps": 0,
            "augmentation": recipe.augmentation.model_copy(update={"image": None}),
        }
    )


def qat_run(path: Path, recipe: Recipe | None = None, *, devices: int = 1, progress: bool = True) -> Run:
    """Train the calibrated network of a run on, into its stage `qat`; goes on where it was stopped.

    Scales stay those of the calibration, and batch norms keep their statistics, as they are folded into weights.

    Args:
        path: the run folder; its data are learnt from.
        recipe: how; `qat_recipe` of the run by default.
        devices: GPUs (or CPU processes).
        progress: print a line an epoch.

    Raises:
        BevliteError: nothing was calibrated, unusable data, a loss that is not finite or grows; the calibrated weights
            stay as they are.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    variant = run.variant(run.chosen("calibration"))
    weights, scales = run.weights(variant, "calibration"), run.scales("calibration")
    assert scales is not None
    recipe = recipe or qat_recipe(run)

    try:
        inner = train(
            variant, run.data(), recipe, path / INNER["qat"], weights=weights, resume=True, devices=devices,
            progress=progress, scales=scales,
        )  # fmt: skip
    except TrainingError as error:
        raise BevliteError(f"qat: {error}; the calibrated weights stay the last stage") from None
    _require_learnt(inner)
    meta = {"from": "calibration", "epochs": recipe.epochs, **inner.weights_meta(FLOAT), "scales": scales}
    save_weights(run, inner.weights(variant, FLOAT), variant, meta, "qat")
    run.forget_figures("qat")
    return run


def _require_learnt(inner: Run) -> None:
    """Whether the loss is about what it was, or less."""
    lines = [json.loads(line) for line in (inner.path / "metrics.jsonl").read_text().splitlines() if line.strip()]
    first, last = (sum(one["loss"].values()) for one in (lines[0], lines[-1]))
    if last > WORSE * first:
        raise BevliteError(
            f"{inner.path}: the loss grew from {first:.3g} to {last:.3g}; accepted: a lower learning rate "
            "(--set-recipe learning_rate=...) after this folder was removed; the calibrated weights stay the last "
            "stage"
        )
