"""`bevlite latency next`: which modules to measure on the board."""

from __future__ import annotations

from pathlib import Path

import typer


def register(group: typer.Typer) -> None:
    """Add the command `next`."""

    @group.command("next")
    def next_command(
        networks: list[Path] = typer.Argument(help="Variants, run folders or ONNX files: what matters to you."),
        device: str = typer.Option("agx-orin-64gb", "--device", help="Name in configs/devices, or a YAML file."),
        count: int = typer.Option(10, "--count", help="How many modules."),
        reports: list[Path] = typer.Option([], "--reports", metavar="FILE", help="What was measured before."),
        graphs: list[Path] = typer.Option(
            [], "--graphs", metavar="ONNX|FOLDER", help="Where the measured modules of a report lie, if not beside it."
        ),
        precision: str = typer.Option("", "--precision", help="fp32, fp16 or int8; by default each variant's own."),
        tensorrt: str = typer.Option("10.3", "--tensorrt", help="Version on the board."),
    ) -> None:
        """The modules whose measurement tells most about all of them, the most telling first."""
        from bevlite.api.measuring_next import measure_next

        found = measure_next(
            networks, device=device, count=count, reports=reports, graphs=graphs, precision=precision, tensorrt=tensorrt
        )
        for place, row in enumerate(found, start=1):
            typer.echo(f"{place:3d}  {row.network}  {row.module}  (then all are off by {row.uncertain:.0%} on average)")
        typer.echo("measure them with `bevlite device run`, then `bevlite latency calibrate --reports ...`", err=True)
