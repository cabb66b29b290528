"""`bevlite release`: from a trained run to a package, in one go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.compress import share
from bevlite.cli.say import say

if TYPE_CHECKING:
    from bevlite.compression.compress import By


def release_command(
    run: Path = typer.Argument(help="A run folder with trained weights."),
    device: str = typer.Option(..., "--device", help="One board; or a predicted board, of which nothing is measured."),
    out: Path = typer.Option(..., "--out", help="The package; one that is there is replaced."),
    budget_ms: float = typer.Option(..., "--budget-ms", min=0.0, help="Largest P99 of a frame, in ms."),
    max_drop: float = typer.Option(
        0.03, "--max-drop", parser=share, metavar="SHARE", help="The most accuracy that may be lost in all, relative."
    ),
    min_fps: float | None = typer.Option(None, "--min-fps", min=0.0, help="Smallest frame rate, one frame in flight."),
    max_power_w: float | None = typer.Option(None, "--max-power-w", min=0.0, help="Largest power of the module, in W."),
    max_memory_mb: float | None = typer.Option(None, "--max-memory-mb", min=0.0, help="Largest memory, in MB."),
    guide: str = typer.Option("measured", "--guide", help="Of pruning: measured, latency, macs or uniform."),
    finetune_overrides: list[str] = typer.Option(
        [], "--set-finetune", help="A key of the recipe of training on: a.b=c."
    ),
    qat_overrides: list[str] = typer.Option([], "--set-qat", help="A key of the recipe of training with INT8: a.b=c."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes)."),
    sign: Path | None = typer.Option(None, "--sign", metavar="KEY", help="An ssh key to sign the package with."),
) -> None:
    """Compress where needed, export, build, verify, measure, pack; goes on where it was stopped.

    Exit code 0: all limits are met on a real board. 1: one is not; Plan B is in the run. 3: the board is emulated or
    predicted.
    """
    from bevlite.api.packaging import release
    from bevlite.packaging.release import EXIT_CODES

    made = release(
        run,
        device=device,
        out=out,
        budget_ms=budget_ms,
        max_drop=max_drop,
        min_fps=min_fps,
        max_power_w=max_power_w,
        max_memory_mb=max_memory_mb,
        guide=cast("By", guide),
        finetune_overrides=finetune_overrides,
        qat_overrides=qat_overrides,
        devices=devices,
        sign=sign,
        say=say,
    )
    if made.stopped:
        typer.echo(f"missed: {made.stopped}")
    if made.plan is not None:
        typer.echo(f"Plan B: {len(made.plan.steps)} ways out in {run / 'plan_b'} (bevlite plan-b shows them)")
    typer.echo(f"{made.verdict}: {made.package or 'no package'}")
    if made.verdict == "predicted":
        typer.echo("NOTHING WAS MEASURED: the device is a predicted one")
    missed = made.stopped and made.verdict == "predicted"
    raise typer.Exit(1 if missed else EXIT_CODES[made.verdict])


def register(parent: typer.Typer) -> None:
    """Add `release` to the command line."""
    parent.command("release")(release_command)
