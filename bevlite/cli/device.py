"""`bevlite device`: boards and other things that latency comes from: add, list, check, run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bevlite.cli.say import say
from bevlite.errors import BevliteError

if TYPE_CHECKING:  # what a command needs is imported when it runs: `--help` needs none of it
    from bevlite.devices.contract import Device
    from bevlite.devices.report.latency import LatencyReport

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
    from bevlite.config import apply_overrides, validate
    from bevlite.devices.files import save
    from bevlite.devices.settings import DeviceFile

    if bool(ssh) == bool(boards):
        raise BevliteError("device add: accepted: either --ssh HOST (a Jetson) or --board NAME (a pool of boards)")
    data: dict[str, Any]
    if boards:
        data = {"type": "pool", "devices": boards}
    else:
        data = {"type": "orin", "ssh": ssh, "sudo": sudo}
        # The file is read from any folder later.
        config = ssh_config.expanduser().absolute() if ssh_config is not None else None
        optional = {"ssh_config": config, "tensorrt_root": tensorrt_root, "power_mode": power_mode}
        data |= {key: str(value) for key, value in optional.items() if value}
    content = validate({"device": apply_overrides(data, settings)}, DeviceFile, f"device {name}")
    path = save(name, content.device, replace=replace)
    typer.echo(f"written: {path}; next: bevlite device check {name}")


def list_devices() -> None:
    """List every device: yours, this machine's, and the boards that can be predicted."""
    from bevlite.devices.files import folder, names

    for name, kind in names().items():
        typer.echo(f"{name:24} {kind}")
    typer.echo(f"your files: {folder()}")


def check(name: str = typer.Argument(help="Name of a device, or a device file.")) -> None:
    """Say what a device is, its conditions, what is wrong, and the command that mends it (exit code 1 then)."""
    from bevlite.cli.device_text import show_health
    from bevlite.devices.files import open_device

    device = open_device(name, say=say)
    try:
        health = device.check()
    finally:
        _close(device)
    show_health(health)
    if health.problems:
        raise typer.Exit(PROBLEM)


def run(
    name: str = typer.Argument(help="Name of a device, or a device file."),
    sources: list[Path] = typer.Argument(metavar="RUN|FILE.onnx...", help="A run folder, or ONNX files."),
    precision: str = typer.Option("", help="fp32, fp16 or int8; by default a run's own, fp16 for ONNX files."),
    out: Path | None = typer.Option(None, help="The report; by default RUN/latency/DEVICE.json.", show_default=False),
    samples: int = typer.Option(8, "--samples", min=1, help="Of a run: samples that whole frames are timed on."),
    end_to_end: bool = typer.Option(
        True, "--end-to-end/--no-end-to-end", help="Of a run: time whole frames through all engines as well."
    ),
    require_measured: bool = typer.Option(
        False, "--require-measured", help="Exit code 3 when the report is emulated or predicted."
    ),
) -> None:
    """Build and measure ONNX files or a run's modules on a device, and write the report."""
    from bevlite.cli.device_text import show_report
    from bevlite.devices.files import open_device

    device = open_device(name, say=say)
    try:
        report, place = _measure(device, sources, precision, samples if end_to_end else 0)
    finally:
        _close(device)
    target = out or place
    report.write(target)
    show_report(report)
    typer.echo(f"written: {target}")
    if require_measured and report.kind != "measured":
        typer.echo(f"the report is {report.kind}: it counts for nothing where a measured one is required", err=True)
        raise typer.Exit(EMULATED)


def _measure(device: Device, sources: list[Path], precision: str, samples: int) -> tuple[LatencyReport, Path]:
    """The report, and where it lies by default; whole frames of `samples` samples of a run, 0 for none."""
    if len(sources) == 1 and sources[0].is_dir():
        return _measure_run(device, sources[0], precision, samples), sources[0] / "latency" / f"{device.name}.json"
    modules = {path.stem: path for path in sources}
    if len(modules) < len(sources):
        raise BevliteError("device run: found two files of one name; accepted: ONNX files of different names")
    return device.measure(modules, (), precision or "fp16"), sources[0].parent / f"{device.name}.json"


def _measure_run(device: Device, path: Path, precision: str, samples: int) -> LatencyReport:
    from bevlite.deploy.whole_frames import time_frames_of_run
    from bevlite.export.of_run import inputs_of_run, request_of_run
    from bevlite.run_folder import Run

    run = Run(path)
    version, notes = _tensorrt(device)
    found = request_of_run(run, version, precision)
    inputs, note = inputs_of_run(run, found.files)
    report = device.measure(found.files, found.steps, found.precision, inputs=inputs)
    report = report.model_copy(update={"notes": (*notes, note, *report.notes)})
    if not samples or report.kind == "predicted":
        return report
    return report.with_whole_frames(time_frames_of_run(device, run, found, samples))


def _tensorrt(device: Device) -> tuple[str | None, list[str]]:
    """The version that a device builds with, None without TensorRT; of different boards the oldest, and a note."""
    from bevlite.devices.board_device import BoardDevice
    from bevlite.devices.pool import BoardPool

    if not isinstance(device, BoardDevice | BoardPool):
        return getattr(device, "tensorrt", None), []
    if isinstance(device, BoardDevice):
        version = device.check().identity.get("tensorrt")
        return str(version) if version else None, []
    versions = device.tensorrt()
    oldest = next(iter(versions.values()), None)
    if len(set(versions.values())) < 2:
        return oldest, []
    found = ", ".join(f"{version} ({name})" for name, version in versions.items())
    note = f"boards of TensorRT {found}: the export for the oldest, {oldest}, on whichever is free"
    say(note)
    return oldest, [note]


def _close(device: Device) -> None:
    close = getattr(device, "close", None)
    if close is not None:
        close()
