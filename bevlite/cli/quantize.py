"""`bevlite quantize`: a network in INT8 from a trained one. `bevlite qat`: train it on as it will run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.say import say
from bevlite.errors import BevliteError

if TYPE_CHECKING:
    from bevlite.compression.calibration import Method


def quantize_command(
    run: Path = typer.Argument(help="A run folder."),
    precision: list[str] = typer.Option(
        [], "--precision", help="PATTERN=WORD of modules and layers, e.g. camera=int8; INT8 where it pays by default."
    ),
    method: str = typer.Option("percentile", "--method", help="Calibration: max, entropy, percentile or mse."),
    percentile: float = typer.Option(99.99, "--percentile", help="For that method, in %."),
    samples: int = typer.Option(64, "--samples", help="Training samples to calibrate on."),
    stage: str | None = typer.Option(None, "--stage", help="Weights to start from; the last ones by default."),
    evaluate: bool = typer.Option(True, help="Score the validation split at the end."),
) -> None:
    """Calibrate a trained network for INT8 (post-training quantization)."""
    from bevlite.api.compressing import quantize
    from bevlite.compression.quantize import near_overflow
    from bevlite.reporting.quantization import precision_table

    made = quantize(
        run,
        precision=_words(precision),
        method=cast("Method", method),
        percentile=percentile,
        samples=samples,
        stage=stage,
        evaluate=False,
        say=say,
    )
    typer.echo(precision_table(made.int8, made.floats, made.variant.modules))
    for line in near_overflow(made.overflows):
        typer.echo(f"FP16: {line}")
    if evaluate:
        _score(run, "calibration")
    typer.echo(f"written: {run / 'checkpoints' / 'calibration.yaml'}; train it on: bevlite qat {run}")


def qat_command(
    run: Path = typer.Argument(help="A run folder with a calibrated network."),
    recipe: Path | None = typer.Option(None, "--recipe", help="A recipe; a short one after the run's own by default."),
    recipe_overrides: list[str] = typer.Option([], "--set-recipe", help="Override a key of the recipe: a.b=c."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes)."),
    evaluate: bool = typer.Option(True, help="Score the validation split at the end."),
) -> None:
    """Train a calibrated network on with INT8's values; goes on where it was stopped."""
    from bevlite.api.compressing import qat

    qat(run, recipe=recipe, recipe_overrides=recipe_overrides, devices=devices, evaluate=False)
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        return
    if evaluate:
        _score(run, "qat")
    typer.echo(f"written: {run / 'checkpoints' / 'qat.safetensors'}")


def _score(run: Path, stage: str) -> None:
    from bevlite.evaluation.run import accuracy_table, evaluate_run

    typer.echo(accuracy_table(evaluate_run(run, stage=stage, progress=True)))


def _words(pairs: list[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        pattern, equals, word = pair.partition("=")
        if not equals or not pattern:
            raise BevliteError(f"--precision: found '{pair}'; accepted: PATTERN=WORD, e.g. camera.backbone=int8")
        found[pattern] = word
    return found


def register(parent: typer.Typer) -> None:
    """Add `quantize` and `qat` to the command line."""
    parent.command("quantize")(quantize_command)
    parent.command("qat")(qat_command)
