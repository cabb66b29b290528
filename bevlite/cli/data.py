"""`bevlite data`: make a generated world, check a data root, and compare it with nuScenes."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from bevlite.cli.json_option import json_option


def register(app: typer.Typer) -> None:
    """Add `data` with its commands."""
    data = typer.Typer(help="Make a generated world, and look at data.", no_args_is_help=True)

    @data.command()
    def synth(
        out: Path = typer.Argument(..., help="Data root to make: a new folder, or one to resume."),
        scenes: int = typer.Option(10, help="Scenes; up to 10 make v1.0-mini, more make v1.0-trainval."),
        samples: int = typer.Option(20, help="Keyframes a scene, at 2 Hz."),
        seed: int = typer.Option(0, help="The same seed gives the same bytes."),
        sweeps: int = typer.Option(9, help="LiDAR sweeps before each keyframe, at 20 Hz (0..9)."),
        val_scenes: int | None = typer.Option(None, help="Scenes of the validation split [2 of 10; 1 of 3]."),
        image_scale: float = typer.Option(1.0, help="Image size as a share of 1600 x 900."),
        jpeg_quality: int = typer.Option(90, help="JPEG quality, 10..100."),
        world: int = typer.Option(2, help="Version of the world: 2, or 1, in which the camera counts for little."),
        workers: int | None = typer.Option(None, help="Processes; all cores by default."),
    ) -> None:
        """Make a generated world in nuScenes format: six cameras, LiDAR, boxes, occupancy."""
        from rich.console import Console

        from bevlite.api.worlds import synthesize
        from bevlite.cli.say import noted

        console = Console(highlight=False, soft_wrap=True)
        console.print(
            f"{out}: {scenes} scenes of {samples} samples with {sweeps} sweeps, images at {image_scale:g} of "
            f"1600 x 900, world {world}, seed {seed}, {workers or os.cpu_count()} processes"
        )
        noted("making scenes")

        def say(line: str) -> None:
            console.print(line)
            noted(line)

        with console.status("making scenes"):
            made = synthesize(
                out,
                scenes=scenes,
                samples=samples,
                seed=seed,
                sweeps=sweeps,
                val_scenes=val_scenes,
                image_scale=image_scale,
                jpeg_quality=jpeg_quality,
                world=world,
                workers=workers,
                say=say,
            )
        console.print(
            f"{made.root}: {made.version}, {len(made.train_scenes)} training and {len(made.val_scenes)} "
            f"validation scenes, {made.samples} samples, {made.boxes} boxes, {made.seconds:.0f} s"
        )

    @data.command()
    def stats(
        root: Path = typer.Argument(..., help="Data root in nuScenes format."),
        version: str | None = typer.Option(None, help="Version folder; by default the only one there."),
    ) -> None:
        """Compare a data set's boxes, points, visibility and speeds with nuScenes' published figures."""
        from rich.console import Console

        from bevlite.api.worlds import data_statistics
        from bevlite.simulation.world.comparison import render

        Console(highlight=False, soft_wrap=True).print(render(data_statistics(root, version=version)))

    @data.command()
    def check(
        root: Path = typer.Argument(..., help="Data root in nuScenes format."),
        version: str | None = typer.Option(None, help="Version folder; by default the only one there."),
        json_path: Path | None = json_option("Also write the report, with all problems, here; - for stdout."),
        quick: bool = typer.Option(False, "--quick", help="Files: existence and sizes only."),
    ) -> None:
        """Count what a data root holds and list all its problems. Exit code 1 when there are errors."""
        from rich.console import Console

        from bevlite.api.worlds import check_data
        from bevlite.config import write_atomic
        from bevlite.reporting.data_check import show_check
        from bevlite.reporting.progress import progress

        with progress("check files") as advance:
            report = check_data(root, version=version, quick=quick, advance=advance)
        if json_path is not None:
            write_atomic(json_path, report.as_json())
        show_check(report, Console(highlight=False, soft_wrap=True))
        if report.errors:
            raise typer.Exit(1)

    app.add_typer(data, name="data")
