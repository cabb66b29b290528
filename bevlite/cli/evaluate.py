"""`bevlite eval`: score a run over a split."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.errors import BevliteError


def eval_command(
    run: Path = typer.Argument(help="A run folder."),
    split: str | None = typer.Option(None, "--split", help="An official split; the validation split by default."),
    backend: str = typer.Option("torch", "--backend", help="torch or onnx (the exported modules)."),
    data: str | None = typer.Option(None, "--data", help="Another data root or data YAML file than the run's."),
) -> None:
    """NDS, mAP, the five errors and occupancy mIoU of a run."""
    from bevlite.data.config import load_data_config
    from bevlite.evaluation.run import evaluate_run
    from bevlite.reporting.accuracy import accuracy_table

    if backend not in ("torch", "onnx"):
        raise BevliteError(f"--backend: found '{backend}'; accepted: torch, onnx")
    summary = evaluate_run(
        run,
        split=split,
        backend="onnx" if backend == "onnx" else "torch",
        data=load_data_config(data) if data else None,
        progress=True,
    )
    typer.echo(accuracy_table(summary))
    typer.echo(f"written: {run / 'eval' / (summary['split'] + '-' + backend) / 'metrics.json'}")


def register(parent: typer.Typer) -> None:
    """Add `eval` to the command line."""
    parent.command("eval")(eval_command)
