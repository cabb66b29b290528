"""`bevlite compress`: from a trained run to one that fits, in one go."""

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
    from bevlite.compression.compress import By, Mix

OVER = 1
"""Exit status where a stage lost more than it may."""


def share(given: str | float) -> float:
    """`3%` or `0.03` as a share (raises BevliteError)."""
    text = str(given)
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise BevliteError(f"drop: found '{text}'; accepted: a share such as 3% or 0.03") from None


def compress_command(
    run: Path = typer.Argument(help="A run folder with trained weights."),
    budget_ms: float = typer.Option(..., "--budget-ms", help="Predicted latency in INT8 to meet, ms."),
    max_drop: float = typer.Option(
        0.03, "--max-drop", parser=share, metavar="SHARE", help="The most accuracy that may be lost in all, relative."
    ),
    max_pruning_drop: float = typer.Option(
        0.015, "--max-pruning-drop", parser=share, metavar="SHARE", help="The most that pruning may lose."
    ),
    max_quantization_drop: float = typer.Option(
        0.02, "--max-quantization-drop", parser=share, metavar="SHARE", help="The most that INT8 may lose."
    ),
    guide: str = typer.Option("measured", "--guide", help="Of pruning: measured, latency, macs or uniform."),
    samples: int = typer.Option(100, "--samples", help="Training samples on which cuts are measured."),
    method: str = typer.Option("percentile", "--method", help="Calibration: max, entropy, percentile or mse."),
    calibration_samples: int = typer.Option(64, "--calibration-samples", help="Training samples to calibrate on."),
    mixed: str = typer.Option(
        "part", "--mixed", help="What may go back to FP16 where INT8 loses too much: part, layer, or no."
    ),
    finetune_overrides: list[str] = typer.Option(
        [], "--set-finetune", help="A key of the recipe of training on: a.b=c."
    ),
    qat_overrides: list[str] = typer.Option([], "--set-qat", help="A key of the recipe of training with INT8: a.b=c."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes)."),
    device: str = typer.Option("agx-orin-64gb", "--device", autocompletion=boards, help="Whose latency counts."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    power_mode: str = typer.Option("", "--power-mode", help="nvpmodel mode, such as 50W; MAXN by default."),
    out: Path | None = typer.Option(None, "--out", help="The ledger as a picture (PNG)."),
) -> None:
    """Prune, train on, quantize (mixed and trained on where needed), export, judge; goes on where it was stopped."""
    from bevlite.api.compressing import compress
    from bevlite.reporting.ledger import ledger_table

    made = compress(
        run,
        budget_ms=budget_ms,
        max_drop=max_drop,
        max_pruning_drop=max_pruning_drop,
        max_quantization_drop=max_quantization_drop,
        guide=cast("By", guide),
        samples=samples,
        method=cast("Method", method),
        calibration_samples=calibration_samples,
        mixed=cast("Mix", mixed),
        finetune_overrides=finetune_overrides,
        qat_overrides=qat_overrides,
        devices=devices,
        device=device,
        tensorrt=tensorrt,
        power_mode=power_mode,
        out=out,
        say=say,
    )
    typer.echo(ledger_table(made.lines))
    typer.echo(f"ms: predicted for {device}, TensorRT {tensorrt}; nothing was measured")
    if out is not None:
        typer.echo(f"written: {out}")
    if made.stopped:
        typer.echo(made.stopped)
        for way in made.ways:
            typer.echo(f"  {way}")
        raise typer.Exit(OVER)


def register(parent: typer.Typer) -> None:
    """Add `compress` to the command line."""
    parent.command("compress")(compress_command)
