"""`bevlite quantize`: a network in INT8 from a trained one. `bevlite qat`: train it on as it will run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.complete import boards
from bevlite.cli.say import say
from bevlite.errors import BevliteError
from bevlite.tensorrt import DEFAULT_VERSION

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
    sensitivity: Path | None = typer.Option(
        None, "--sensitivity", help="What `analyze sensitivity --quantize` measured: dear layers go back to FP16."
    ),
    max_drop: str | None = typer.Option(None, "--max-drop", help="With it: what may be lost of the accuracy, e.g. 2%."),
    budget_ms: float | None = typer.Option(None, "--budget-ms", help="With it: predicted latency to keep, ms."),
    stage: str | None = typer.Option(None, "--stage", help="Weights to start from; the last ones by default."),
    device: str = typer.Option("agx-orin-64gb", "--device", autocompletion=boards, help="Whose latency counts."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    power_mode: str = typer.Option("", "--power-mode", help="nvpmodel mode, such as 50W; MAXN by default."),
    out: Path | None = typer.Option(None, "--out", help="Also draw there which layer runs in what (PNG)."),
    evaluate: bool = typer.Option(True, help="Score the validation split at the end."),
) -> None:
    """Calibrate a trained network for INT8 (post-training quantization)."""
    from bevlite.api.compressing import quantize
    from bevlite.compression.quantize import near_overflow
    from bevlite.reporting.quantization import mixed_line, precision_table

    made = quantize(
        run,
        precision=_words(precision),
        method=cast("Method", method),
        percentile=percentile,
        samples=samples,
        sensitivity=sensitivity,
        max_drop=_share(max_drop),
        budget_ms=budget_ms,
        stage=stage,
        device=device,
        tensorrt=tensorrt,
        power_mode=power_mode,
        out=out,
        evaluate=False,
        say=say,
    )
    typer.echo(precision_table(made.int8, made.floats, made.variant.modules))
    for line in near_overflow(made.overflows):
        typer.echo(f"FP16: {line}")
    if made.mixed is not None:
        typer.echo(mixed_line(made.mixed.floats, made.mixed.predicted_ms, made.mixed.drop))
        if made.mixed.missed:
            typer.echo(made.mixed.missed)
    if evaluate:
        _score(run, "calibration")
    if out is not None:
        typer.echo(f"written: {out}")
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
    if evaluate:
        _score(run, "qat")
    typer.echo(f"written: {run / 'checkpoints' / 'qat.safetensors'}")


def _score(run: Path, stage: str) -> None:
    from bevlite.evaluation.run import accuracy_table, evaluate_run

    typer.echo(accuracy_table(evaluate_run(run, stage=stage, progress=True)))


def _share(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise BevliteError(f"--max-drop: found '{text}'; accepted: a share, e.g. 2% or 0.02") from None


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
