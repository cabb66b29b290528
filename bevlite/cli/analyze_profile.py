"""`bevlite analyze profile`: what a network takes in torch on the device at hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.complete import boards, settings
from bevlite.cli.json_option import json_option, written
from bevlite.cli.say import say
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.analysis.profile import Precision
    from bevlite.run_folder import Stage


def profile_command(
    source: Path = typer.Argument(help="A variant YAML file, or a run folder."),
    repeats: int = typer.Option(50, "--repeats", help="Runs that count."),
    warmup: int = typer.Option(10, "--warmup", help="Runs before them."),
    batch: int = typer.Option(1, "--batch", help="Frames at a time."),
    device: str = typer.Option("auto", "--device", help="cpu, cuda, cuda:1, or auto."),
    precision: str = typer.Option("fp32", "--precision", help="fp32, or fp16 and bf16 by autocast."),
    layers: bool = typer.Option(False, "--layers", help="Every layer too."),
    stage: str | None = typer.Option(None, "--stage", help="Of a run; the last one by default."),
    predict: bool = typer.Option(True, help="Milliseconds on a board too, as they are predicted."),
    board: str = typer.Option("agx-orin-64gb", "--board", autocompletion=boards, help="Which board."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    overrides: list[str] = typer.Option(
        [], "--set", "--cfg-options", autocompletion=settings, help="Override a key of the variant: a.b=c."
    ),
    out: Path | None = typer.Option(None, "--out", help="Also draw it there (PNG)."),
    json_path: Path | None = json_option(),
) -> None:
    """Milliseconds of the network, its modules and layers on this device, measured; an Orin's, predicted, beside."""
    from bevlite.api.analysing import profile
    from bevlite.reporting.profile import profile_table, profile_words

    found = profile(
        source,
        repeats=repeats,
        warmup=warmup,
        batch=batch,
        device=device,
        precision=cast("Precision", precision),
        layers=layers,
        stage=cast("Stage | None", stage),
        predict=predict,
        board=board,
        tensorrt=tensorrt,
        overrides=overrides,
        out=out,
        json_path=json_path,
        say=say,
    )
    typer.echo(profile_words(found))
    typer.echo(profile_table(found))
    written(json_path, out)
