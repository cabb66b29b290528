"""`bevlite show`: truth beside prediction, on the images, in BEV and as occupancy from above."""

from __future__ import annotations

from pathlib import Path

import typer


def show_command(
    run: Path = typer.Argument(help="A run folder; or a data root, for its truth alone."),
    sample: int = typer.Option(0, "--sample", min=0, help="Which sample of the split, from 0."),
    out: Path = typer.Option(..., "--out", help="The PNG file to write."),
    split: str | None = typer.Option(None, "--split", help="An official split; the validation split by default."),
    score: float = typer.Option(0.3, "--score", min=0, max=1, help="Draw predictions from this score on."),
) -> None:
    """Draw one sample: boxes on the six images and in BEV, occupancy and map from above, truth beside prediction."""
    from bevlite.api.networks import show

    show(run, out=out, sample=sample, split=split, score=score)
    typer.echo(f"written: {out}")


def register(parent: typer.Typer) -> None:
    """Add `show` to the command line."""
    parent.command("show")(show_command)
