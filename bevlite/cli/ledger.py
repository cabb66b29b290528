"""`bevlite ledger`: what a run was worth after each stage, and whether too much was lost."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.complete import boards
from bevlite.tensorrt import DEFAULT_VERSION

OVER = 1
"""Exit status where a stage lost more than it may."""


def ledger_command(
    run: Path = typer.Argument(help="A run folder."),
    max_pruning_drop: float = typer.Option(0.015, "--max-pruning-drop", help="Relative, as a share."),
    max_quantization_drop: float = typer.Option(0.02, "--max-quantization-drop", help="Relative, as a share."),
    max_drop: float = typer.Option(0.03, "--max-drop", help="In all, relative, as a share."),
    predict: bool = typer.Option(True, help="Milliseconds, as they are predicted."),
    device: str = typer.Option("agx-orin-64gb", "--device", autocompletion=boards, help="For which board."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    out: Path | None = typer.Option(None, "--out", help="Also draw it there (PNG)."),
) -> None:
    """What a run was worth after each stage; exit status 1 where a stage lost more than it may."""
    from bevlite.api.compressing import ledger
    from bevlite.reporting.ledger import ledger_table

    lines = ledger(
        run,
        max_pruning_drop=max_pruning_drop,
        max_quantization_drop=max_quantization_drop,
        max_drop=max_drop,
        predict=predict,
        device=device,
        tensorrt=tensorrt,
        out=out,
    )
    typer.echo(ledger_table(lines))
    if predict:
        typer.echo(f"ms: predicted for {device}, TensorRT {tensorrt}; nothing was measured")
    if out is not None:
        typer.echo(f"written: {out}")
    over = [line for line in lines if line.over]
    for line in over:
        typer.echo(f"{line.name}: {line.over}")
    if over:
        if predict:
            _say_ways_out(run, device, tensorrt)
        raise typer.Exit(OVER)


def _say_ways_out(run: Path, device: str, tensorrt: str) -> None:
    from bevlite.api.predicting import predicted_board
    from bevlite.compression.advice import ways_out
    from bevlite.run_folder import Run

    for line in ways_out(Run(run).variant(), predicted_board(device, "", tensorrt)):
        typer.echo(f"  {line}")


def register(parent: typer.Typer) -> None:
    """Add `ledger` to the command line."""
    parent.command("ledger")(ledger_command)
