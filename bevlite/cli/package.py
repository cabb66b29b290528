"""`bevlite package`: a run as a folder that a colleague unpacks on the board."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.say import news


def package_command(
    run: Path = typer.Argument(help="A run folder."),
    device: str = typer.Option(..., "--device", help="A board that it was deployed to, or a predicted board."),
    out: Path = typer.Option(..., "--out", help="The package; one that is there is replaced."),
    budget_ms: float | None = typer.Option(None, "--budget-ms", min=0.0, help="Largest P99 that `check` accepts, ms."),
    min_fps: float | None = typer.Option(None, "--min-fps", min=0.0, help="Smallest frame rate, one frame in flight."),
    max_power_w: float | None = typer.Option(None, "--max-power-w", min=0.0, help="Largest power of the module, in W."),
    max_memory_mb: float | None = typer.Option(None, "--max-memory-mb", min=0.0, help="Largest memory, in MB."),
    samples: int = typer.Option(2, "--samples", min=1, max=64, help="Samples that travel, with golden outputs."),
    sign: Path | None = typer.Option(None, "--sign", metavar="KEY", help="An ssh key to sign the manifest with."),
) -> None:
    """Pack a run for a board: models, library, scripts, samples, documents, promises.

    Limits of a deploy are taken over. On the board, `./check` says whether everything holds.
    """
    from bevlite.api.packaging import package

    manifest = package(
        run,
        device=device,
        out=out,
        budget_ms=budget_ms,
        min_fps=min_fps,
        max_power_w=max_power_w,
        max_memory_mb=max_memory_mb,
        samples=samples,
        sign=sign,
        say=news(),
    )
    promise, files = manifest["promise"], manifest["files"]
    size = sum(row["size"] for row in files.values()) / 1e6
    typer.echo(f"{out}: {len(files)} files, {size:.1f} MB; engines: {', '.join(manifest['engines']) or 'none'}")
    for name, row in promise["figures"].items():
        typer.echo(f"promised ({promise['kind']}): {name} {row['value']:.3f} {row['unit']}")
    for note in promise["notes"]:
        typer.echo(f"note: {note}")


def register(parent: typer.Typer) -> None:
    """Add `package` to the command line."""
    parent.command("package")(package_command)
