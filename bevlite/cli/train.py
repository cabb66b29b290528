"""`bevlite train`: from a variant, data and a recipe to a run."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.complete import settings
from bevlite.errors import BevliteError


def train_command(
    variant: Path = typer.Argument(help="A variant YAML file."),
    data: str = typer.Option(..., "--data", help="A nuScenes-format root, or a data YAML file."),
    recipe: Path = typer.Option(..., "--recipe", help="A recipe YAML file."),
    out: Path = typer.Option(..., "--out", help="The run folder."),
    more_init: list[str] = typer.Argument(None, metavar="[STREAM=RUN]...", help="More of what --init takes."),
    init: list[str] = typer.Option([], "--init", help="STREAM=RUN: start camera, lidar or heads from a run."),
    resume: str | None = typer.Option(None, "--resume", help="Alone or `auto`: go on from the last finished epoch."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes)."),
    overrides: list[str] = typer.Option(
        [], "--set", "--cfg-options", autocompletion=settings, help="Override a key of the variant: a.b=c."
    ),
    recipe_overrides: list[str] = typer.Option([], "--set-recipe", help="Override a key of the recipe: a.b=c."),
    evaluate: bool = typer.Option(True, help="Score the validation split at the end."),
) -> None:
    """Train a variant."""
    from bevlite.api.networks import load_variant, train
    from bevlite.config import import_parts
    from bevlite.data.config import load_data_config
    from bevlite.training.recipe import load_recipe

    if resume not in (None, "auto"):
        raise BevliteError(f"--resume: found '{resume}'; accepted: auto")
    streams = {}
    for pair in [*init, *(more_init or [])]:
        name, equals, path = pair.partition("=")
        if not equals:
            raise BevliteError(f"--init: found '{pair}'; accepted: STREAM=RUN, e.g. camera=runs/camera")
        streams[name] = Path(path)
    # What is wrong with a file is said before the seconds that torch and the devkit take to import.
    import_parts(variant, overrides)
    how, where = load_recipe(recipe, recipe_overrides), load_data_config(data)
    network = load_variant(variant, overrides=overrides)
    if evaluate:  # what would fail after the training is said before it
        from bevlite.data.index import require_split

        require_split(where, "--no-evaluate trains without scoring")
    train(
        network,
        data=where,
        recipe=how,
        out=out,
        init=streams,
        resume=resume == "auto",
        devices=devices,
        evaluate=False,
    )
    if evaluate:
        from bevlite.evaluation.run import accuracy_table, evaluate_run

        typer.echo(accuracy_table(evaluate_run(out, progress=True)))
    typer.echo(f"run: {out}")


def register(parent: typer.Typer) -> None:
    """Add `train` to the command line."""
    parent.command("train")(train_command)
