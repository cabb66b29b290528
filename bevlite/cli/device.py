"""`bevlite device`: boards and other things that latency comes from: add, list, check, run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from bevlite.cli.complete import devices
from bevlite.cli.json_option import json_option, write_json
from bevlite.cli.say import say

PROBLEM, EMULATED = 1, 3


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from bevlite.cli.device_check_engine import check_engine
    from bevlite.cli.device_emulate import emulate

    group = typer.Typer(
        help="Boards and other devices: add, list, check, run, check-engine, emulate.", no_args_is_help=True
    )
    group.command("add")(add)
    group.command("list")(list_devices)
    group.command("check")(check)
    group.command("run")(run)
    group.command("check-engine")(check_engine)
    group.command("emulate")(emulate)
    app.add_typer(group, name="device")


def add(
    name: str = typer.Argument(help="Name of the device."),
    ssh: str = typer.Option(
        "", "--ssh", "--host", help="A Jetson: what `ssh` takes, a host of your configuration or user@host."
    ),
    ssh_config: Path | None = typer.Option(None, help="Another ssh configuration than your own.", show_default=False),
    tensorrt_root: str = typer.Option("", help="Folder of trtexec, where it is not in its usual place."),
    power_mode: str = typer.Option("", help="nvpmodel mode that it has to measure in, such as MAXN."),
    sudo: str = typer.Option("never", help="passwordless: BEVLite may set mode and clocks by `sudo -n`."),
    boards: list[str] = typer.Option([], "--board", help="A pool: the name of one of its boards (repeat)."),
    settings: list[str] = typer.Option([], "--set", help="Any other key of the file: protocol.duration_s=5."),
    replace: bool = typer.Option(False, "--replace", help="Overwrite a file of that name."),
) -> None:
    """Write a device file to your folder; nothing is connected."""
    from bevlite.api.boards import add_device

    path = add_device(
        name,
        ssh=ssh,
        ssh_config=ssh_config,
        tensorrt_root=tensorrt_root,
        power_mode=power_mode,
        sudo=sudo,
        boards=boards,
        settings=settings,
        replace=replace,
    )
    typer.echo(f"written: {path}; next: bevlite device check {name}")


def list_devices(json_path: Path | None = json_option("Also write the list here; - for stdout, alone.")) -> None:
    """List every device: yours, this machine's, and the boards that can be predicted."""
    from bevlite.devices.listing import listed

    found = listed()
    for one in found.devices:
        typer.echo(f"{one.name:24} {one.type}")
    typer.echo(f"your files: {found.folder}")
    write_json(json_path, found)


def check(name: str = typer.Argument(help="Name of a device, or a device file.", autocompletion=devices)) -> None:
    """Say what a device is, its conditions, what is wrong, and the command that mends it (exit code 1 then)."""
    from bevlite.api.boards import check_device
    from bevlite.cli.device_text import show_health

    health = check_device(name, say=say)
    show_health(health)
    if health.problems:
        raise typer.Exit(PROBLEM)


def run(
    name: str = typer.Argument(help="Name of a device, or a device file.", autocompletion=devices),
    sources: list[Path] = typer.Argument(metavar="RUN|FILE.onnx...", help="A run folder, or ONNX files."),
    precision: str = typer.Option("", help="fp32, fp16 or int8; by default a run's own, fp16 for ONNX files."),
    out: Path | None = typer.Option(None, help="The report; by default RUN/latency/DEVICE.json.", show_default=False),
    samples: int = typer.Option(8, "--samples", min=1, help="Of a run: samples that whole frames are timed on."),
    end_to_end: bool = typer.Option(
        True, "--end-to-end/--no-end-to-end", help="Of a run: time whole frames through all engines as well."
    ),
    shapes: list[str] = typer.Option(
        [], "--shape", metavar="[NAME=]1x3x224x224", help="Sizes of a dynamic input of an ONNX file."
    ),
    require_measured: bool = typer.Option(
        False, "--require-measured", help="Exit code 3 when the report is emulated or predicted."
    ),
) -> None:
    """Build and measure ONNX files or a run's modules on a device, and write the report."""
    from bevlite.api.opened import opened
    from bevlite.cli.device_text import show_report
    from bevlite.devices.shaped import shaped

    with opened(name, say) as device, TemporaryDirectory(prefix="bevlite-") as folder:
        from bevlite.deploy.measure import measure, report_file  # seconds, which a wrong name need not wait for

        files = shaped(sources, shapes, Path(folder)) if shapes else sources
        report = measure(device, files, precision, samples=samples if end_to_end else 0, say=say)
        target = out or report_file(device, sources)
    report.write(target)
    show_report(report)
    typer.echo(f"written: {target}")
    if require_measured and report.kind != "measured":
        typer.echo(f"the report is {report.kind}: it counts for nothing where a measured one is required", err=True)
        raise typer.Exit(EMULATED)
