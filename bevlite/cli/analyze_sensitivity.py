"""`bevlite analyze sensitivity`: what it costs to make a part of a network smaller, or to round it to INT8."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.complete import boards
from bevlite.cli.json_option import json_option, written
from bevlite.cli.say import say
from bevlite.errors import BevliteError
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.compression.importance import Importance
    from bevlite.compression.sensitivity import By


def sensitivity_command(
    run: Path = typer.Argument(help="A run folder."),
    prune: bool = typer.Option(False, "--prune", help="Remove channels of each layer, and score what is left."),
    quantize: bool = typer.Option(
        False, "--quantize", help="Each layer of a calibrated run alone in INT8, and alone in float."
    ),
    blocks: bool = typer.Option(False, "--blocks", help="Remove each block that can go, and score what is left."),
    ratios: str | None = typer.Option(None, "--ratios", help="Shares of channels to remove: 0.25,0.5 by default."),
    by: str | None = typer.Option(
        None, "--by", help="Changed at once: module, part, layer (default; or group, of channels)."
    ),
    importance: str | None = typer.Option(None, "--importance", help="Which channels go: l2 (default), l1 or bn."),
    samples: int = typer.Option(200, "--samples", help="How many, spread over the scenes of the split."),
    split: str | None = typer.Option(None, "--split", help="The validation split of the data by default."),
    align: int | None = typer.Option(None, "--align", help="What is left of a group is a multiple of it (8)."),
    stage: str | None = typer.Option(
        None, "--stage", help="Which weights: float (default), pruned, finetuned; in INT8 calibration (default), qat."
    ),
    device: str = typer.Option(
        "agx-orin-64gb", "--device", autocompletion=boards, help="Whose predicted latency counts."
    ),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    power_mode: str = typer.Option("", "--power-mode", help="nvpmodel mode, such as 50W; MAXN by default."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes) that share the trials."),
    workers: int = typer.Option(2, "--workers", min=0, max=64, help="Loader processes of each."),
    out: Path | None = typer.Option(None, "--out", help="Also draw it there (PNG)."),
    json_path: Path | None = json_option(
        "Also write it there, for --sensitivity of prune and quantize; - for stdout, alone."
    ),
) -> None:
    """What each layer loses when it is cut or rounded, and what that saves; goes on where it was stopped."""
    from bevlite.api.analysing import sensitivity
    from bevlite.compression.measured import PruningSensitivity
    from bevlite.compression.sensitivity_blocks import BlockSensitivity
    from bevlite.reporting.sensitivity import sensitivity_table, sensitivity_words
    from bevlite.reporting.sensitivity_blocks import block_table, block_words
    from bevlite.reporting.sensitivity_int8 import int8_table, int8_words

    found = sensitivity(
        run,
        prune=prune,
        quantize=quantize,
        blocks=blocks,
        ratios=_ratios(ratios) if ratios is not None else None,
        by=cast("By | None", by),
        importance=cast("Importance | None", importance),
        samples=samples,
        split=split,
        align=align,
        stage=stage,
        device=device,
        tensorrt=tensorrt,
        power_mode=power_mode,
        devices=devices,
        workers=workers,
        out=out,
        json_path=json_path,
        say=say,
    )
    if isinstance(found, PruningSensitivity):
        typer.echo(sensitivity_table(found))
        typer.echo(sensitivity_words(found))
    elif isinstance(found, BlockSensitivity):
        typer.echo(block_table(found))
        typer.echo(block_words(found))
    else:
        typer.echo(int8_table(found))
        typer.echo(int8_words(found))
    written(json_path, out)


def _ratios(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BevliteError(f"--ratios: found '{text}'; accepted: numbers with commas, e.g. 0.25,0.5") from None
