"""`bevlite eval`: score a run over a split."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.complete import devices
from bevlite.cli.json_option import json_option, write_json
from bevlite.cli.say import news
from bevlite.errors import BevliteError

if TYPE_CHECKING:
    from bevlite.evaluation.run import Backend


def eval_command(
    run: Path = typer.Argument(help="A run folder."),
    split: str | None = typer.Option(None, "--split", help="An official split; the validation split by default."),
    backend: str | None = typer.Option(
        None, "--backend", help="torch, onnx (the exported modules) or tensorrt (engines); torch by default."
    ),
    device: str = typer.Option(
        "", "--device", autocompletion=devices, help="The board that runs the engines (bevlite device list)."
    ),
    batch_size: int | None = typer.Option(None, "--batch", min=1, help="Samples at a time: 4, on a board 16."),
    stage: str | None = typer.Option(
        None, "--stage", help="Of which stage, the last one by default; int: the last quantized one, on integers."
    ),
    data: str | None = typer.Option(None, "--data", help="Another data root or data YAML file than the run's."),
    drop: str | None = typer.Option(None, "--drop", help="Without a sensor: camera, lidar, or one camera (CAM_FRONT)."),
    draws: int = typer.Option(200, "--draws", min=0, max=10_000, help="Of scenes, for intervals; 0 for none."),
    json_path: Path | None = json_option("Also write all figures here; - for stdout, alone."),
) -> None:
    """NDS, mAP, the five errors and occupancy mIoU of a run."""
    from bevlite.data.config import load_data_config
    from bevlite.devices.files import open_board
    from bevlite.evaluation.report import EvaluationReport
    from bevlite.evaluation.run import accuracy_table, evaluate_run, evaluation_folder
    from bevlite.run_folder import FLOAT

    if backend not in (None, "torch", "onnx", "tensorrt"):
        raise BevliteError(f"--backend: found '{backend}'; accepted: torch, onnx, tensorrt")
    if bool(device) != (backend == "tensorrt"):
        raise BevliteError("eval: --backend tensorrt and --device NAME go together; accepted: both, or neither")
    kind = cast("Backend | None", backend)
    with open_board(device, news()) if device else nullcontext() as board:
        summary = evaluate_run(
            run,
            split=split,
            backend=kind,
            device=board,
            data=load_data_config(data) if data else None,
            batch_size=batch_size,
            stage=stage,
            drop=drop,
            draws=draws,
            progress=True,
        )
    if summary.get("emulated"):
        typer.echo(f"EMULATED: {device} is no board; this is not the accuracy of one")
    typer.echo(accuracy_table(summary))
    if summary.get("runner_note"):
        typer.echo(f"note: {summary['runner_note']}")
    folder = evaluation_folder(run, summary["split"], summary["backend"], board, summary.get("stage", FLOAT), drop)
    typer.echo(f"written: {folder / 'metrics.json'}")
    write_json(json_path, EvaluationReport.of(run, folder, summary))


def register(parent: typer.Typer) -> None:
    """Add `eval` to the command line."""
    parent.command("eval")(eval_command)
