"""`bevlite import`: a run of a checkpoint of another code base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.complete import settings

if TYPE_CHECKING:
    from bevlite.interop.forms.form import Colours


def import_command(
    file: Path = typer.Argument(help="The checkpoint: .pth (read with weights_only) or .safetensors."),
    out: Path = typer.Option(..., "--out", help="The run folder, a new one."),
    form: str | None = typer.Option(
        None, "--as", help="mit-bevfusion, mmdet3d-bevdet or mmdet3d-centerpoint; told from the keys by default."
    ),
    variant: Path | None = typer.Option(None, "--variant", help="The variant to fill; the nearest by default."),
    overrides: list[str] = typer.Option(
        [], "--set", "--cfg-options", autocompletion=settings, help="Override a key of the variant: a.b=c."
    ),
    data: str | None = typer.Option(None, "--data", help="A nuScenes-format root, or a data YAML file, for the run."),
    lidar_m: tuple[float, float, float] = typer.Option(
        (0.94, 0.0, 1.84), "--lidar-m", help="Where the LiDAR stands in the ego frame, m: x y z."
    ),
    colours: str | None = typer.Option(None, "--colours", help="What it was trained on: rgb or bgr."),
    allow_unknown: bool = typer.Option(False, "--allow-unknown", help="Leave tensors that the form does not know."),
) -> None:
    """Take over a network that was trained elsewhere."""
    from bevlite.api.importing import import_checkpoint
    from bevlite.interop.importing import REPORT
    from bevlite.reporting.importing import import_table

    made = import_checkpoint(
        file,
        out=out,
        form=form,
        variant=variant,
        overrides=overrides,
        data=data,
        lidar_m=lidar_m,
        colours=cast("Colours | None", colours),
        allow_unknown=allow_unknown,
    )
    ours, theirs = made.account.ours, made.account.theirs
    typer.echo(f"{file.name}, as {made.form}, to {made.variant.name} (network {made.variant.network_hash})")
    typer.echo(import_table(ours.by_module(), ours.by_reason(), theirs.by_module(), theirs.by_reason()))
    for note in made.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"written: {out}, {out / REPORT}")


def register(parent: typer.Typer) -> None:
    """Add `import` to the command line."""
    parent.command("import")(import_command)
