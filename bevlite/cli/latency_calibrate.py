"""`bevlite latency calibrate`: fit the latency model to what was measured."""

from __future__ import annotations

from pathlib import Path

import typer


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
        device: str = typer.Option(..., "--device", help="Name in configs/devices, or a YAML file."),
        out: Path = typer.Option(..., "--out", help="The calibration file to write."),
        start: Path | None = typer.Option(
            None, "--start", help="Calibration to start from; by default the shipped one.", show_default=False
        ),
        graphs: list[Path] = typer.Option(
            [], "--graphs", metavar="ONNX|FOLDER", help="Where the measured modules of a report lie, if not beside it."
        ),
    ) -> None:
        """Correct the model by measured latencies, kind of kernel by kind: as many factors as the data bears."""
        from bevlite.config import to_yaml, write_atomic
        from bevlite.devices.calibration import read_evidence
        from bevlite.latency.calibration.fitting import FACTORS, calibrate, predict_ms
        from bevlite.latency.coefficients import DEFAULT, load_calibration
        from bevlite.latency.device import find_device

        board = find_device(device)
        begin = DEFAULT if start is None else load_calibration(start).coefficients
        evidence = read_evidence(reports, board, graphs)
        measured = evidence.measurements
        networks = len({m.network for m in measured})
        typer.echo(f"{len(measured)} measurements of {networks} networks on {board.name}")
        if evidence.emulated:
            typer.echo("EMULATED: fitted to an emulated board; the file and every prediction with it say so", err=True)
            begin = begin.model_copy(update={"emulated": True})
        found = calibrate(measured, begin, board.name, ("launch_share", *FACTORS), typer.echo)
        for name in found.fitted:
            before, after = getattr(begin, name), getattr(found.coefficients, name)
            typer.echo(f"fitted  {name}: {before:g} -> {after:g}")
        for name, why in found.held.items():
            typer.echo(f"held    {name} {getattr(begin, name):g}: {why}")
        for row in found.left_out:
            typer.echo(f"left out {row.family}: {row.rows} rows, mean error {row.mean_abs_error:.1%}")
        for words, c in (("before", begin), ("after", found.coefficients)):
            ratio = predict_ms(measured, c) / [m.latency_ms for m in measured]
            typer.echo(f"{words}: mean error {abs(ratio - 1).mean():.1%} over the measurements themselves")
        c = found.coefficients
        typer.echo(f"interval: -{c.band_below:.1%} to +{c.band_above:.1%} (80 %)")
        write_atomic(out, to_yaml(found))
        typer.echo(f"written: {out}; use it with `bevlite latency ... --calibration {out}`")
