"""`bevlite init`: a folder to work in."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(folder: Path = typer.Argument(help="Where to; files that are there stay as they are.")) -> None:
    """Put networks, recipes, searches and boards to start from into a folder, with the first commands."""
    from bevlite.api.projects import init as make

    written = make(folder)
    typer.echo(f"{folder}: {len(written)} files written")
    typer.echo(f"next: cd {folder} && bevlite variant show configs/variants/demo.yaml")
