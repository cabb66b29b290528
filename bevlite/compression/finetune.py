"""A pruned or an imported network trained on: what it lost, or has not learnt here, is learnt."""

from __future__ import annotations

from pathlib import Path

from bevlite.errors import BevliteError
from bevlite.run_folder import FLOAT, IMPORTED, INNER, Run, Stage
from bevlite.training.checkpoints import save_weights
from bevlite.training.loop import train
from bevlite.training.recipe import Recipe, load_recipe

EPOCHS, RATE, WARMUP = 0.25, 0.3, 0.25
"""Shares of the epochs, the learning rate and the warm-up that a network was trained with, for what is to be learnt
again; a choice of ours."""


def finetune_recipe(run: Run) -> Recipe:
    """The recipe of a run, shorter and at a lower rate (raises ConfigError, BevliteError when it has none)."""
    file = run.path / "recipe.yaml"
    if not file.is_file():
        raise BevliteError(f"{run.path}: an imported network has no recipe of its own; accepted: --recipe FILE")
    run.variant()  # imports its parts, whose losses the recipe weighs
    recipe = load_recipe(file)
    return recipe.model_copy(
        update={
            "epochs": max(1, round(recipe.epochs * EPOCHS)),
            "learning_rate": recipe.learning_rate * RATE,
            "warmup_steps": round(recipe.warmup_steps * WARMUP),
        }
    )


def finetune_run(path: Path, recipe: Recipe | None = None, *, devices: int = 1, progress: bool = True) -> Run:
    """Train the pruned or imported network of a run on, into its stage `finetuned`; goes on where it was stopped.

    Args:
        path: the run folder; its data are learnt from.
        recipe: how; `finetune_recipe` of the run by default.
        devices: GPUs (or CPU processes).
        progress: print a line an epoch.

    Raises:
        BevliteError: nothing was pruned or imported, unusable data, a loss that is not finite.
    """
    run = Run(path)
    run.variant()  # whether it is a run at all
    start = _start(run)
    variant = run.variant(start)
    weights = run.weights(variant, start)
    recipe = recipe or finetune_recipe(run)
    inner = train(
        variant,
        run.data(),
        recipe,
        path / INNER["finetuned"],
        weights=weights,
        resume=True,
        devices=devices,
        progress=progress,
    )
    meta = {"from": start, "epochs": recipe.epochs, **inner.weights_meta(FLOAT)}
    save_weights(run, inner.weights(variant, FLOAT), variant, meta, "finetuned")
    run.forget("calibration", "qat")
    run.forget_figures("finetuned")
    return run


def _start(run: Run) -> Stage:
    """What is trained on: the pruned weights, or those of an import that nothing was cut from."""
    if "pruned" not in run.stages and run.stages and IMPORTED in run.weights_meta(FLOAT):
        return FLOAT
    return run.chosen("pruned")
