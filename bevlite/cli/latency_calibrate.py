"""`bevlite latency calibrate`: fit the latency model to what was measured."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.complete import boards


def register(group: typer.Typer) -> None:
    """Add the command `calibrate`."""

    @group.command("calibrate")
    def calibrate_command(
        reports: list[Path] = typer.Option(
            ...,
            "--reports",
            metavar="FILE",
            help="Measured latencies: reports of `bevlite device run` (.json), the measurement log of a search "
            "(.jsonl), or a table (.csv, docs/latency.md).",
        ),
        device: str = typer.Option(
            ..., "--device", autocompletion=boards, help="Name in configs/devices, or a YAML file."
        ),
        out: Path = typer.Option(..., "--out", help="The calibration file to write."),
        start: Path | None = typer.Option(
            None, "--start", help="Calibration to start from; by default the shipped one.", show_default=False
        ),
        graphs: list[Path] = typer.Option(
            [], "--graphs", metavar="ONNX|FOLDER", help="Where the measured modules of a report lie, if not beside it."
        ),
    ) -> None:
        """Correct the model by measured latencies, kind of kernel by kind: as many factors as the data bears."""
        from bevlite.api.predicting import calibrate_latency

        found = calibrate_latency(reports, device=device, out=out, start=start, graphs=graphs, say=typer.echo)
        if found.coefficients.emulated:
            typer.echo("EMULATED: fitted to an emulated board; the file and every prediction with it say so", err=True)
        typer.echo(f"written: {out}; use it with `bevlite latency ... --calibration {out}`")
