"""`bevlite device emulate`: a Jetson to rehearse with. What it answers is emulated and never counts as measured."""

from __future__ import annotations

from pathlib import Path

import typer


def emulate(
    tensorrt: str = typer.Option("10.3", "--tensorrt", help="8.5.2, 8.6.2, 10.3.0, 10.16.2 or 11.4.1."),
    module: str = typer.Option("agx-orin-64gb", "--module", help="agx-orin-64gb or agx-orin-32gb."),
    folder: Path | None = typer.Option(
        None, "--folder", help="Where the board lives; one that exists is started again. By default a new one in /tmp."
    ),
    fault: list[str] = typer.Option([], "--fault", metavar="NAME", help="What goes wrong from the start; repeatable."),
    factors_seed: int | None = typer.Option(
        None,
        "--factors-seed",
        help="Slow each kind of operator by a hidden factor of 0.5 to 2, to rehearse calibration.",
        show_default=False,
    ),
    time_scale: float = typer.Option(1.0, "--time-scale", min=0.0, help="Real seconds that an emulated second takes."),
    python_api: bool = typer.Option(
        True, "--python-api/--no-python-api", help="Whether TensorRT's Python package is installed on the board."
    ),
    numpy: bool = typer.Option(False, "--numpy", help="Install numpy on the board, which packages need."),
) -> None:
    """Serve an emulated Jetson over ssh on loopback until Ctrl-C."""
    import signal
    import tempfile

    from bevlite.simulation.jetson.board import open_or_create
    from bevlite.simulation.jetson.folder import BoardFolder

    here = Path(tempfile.mkdtemp(prefix="bevlite-orin-")) if folder is None else folder
    known = (here / "board.json").is_file()
    board = open_or_create(
        here, tensorrt, module, factors_seed=factors_seed, time_scale=time_scale, python_api=python_api, numpy=numpy
    )
    for name in fault:
        board.faults.set(name)
    about = BoardFolder(board.folder)
    release = about.release
    with board.serve() as running:
        typer.echo(f"emulated {about.module.model}, JetPack {release.jetpack}, TensorRT {release.version}")
        if release.derived:
            typer.echo("TensorRT 11.4 is derived from the 11.1 sources and the 11.4 documentation")
        if known:
            typer.echo(f"started again from {board.folder}; options of its making hold")
        typer.echo(f"power mode {about.mode.name}, clocks {'locked' if about.clocks_locked else 'not locked'}")
        typer.echo("emulated: trtexec, TensorRT in Python, nvpmodel, jetson_clocks, tegrastats, sysfs, all times")
        typer.echo("real: ssh, files")
        typer.echo(f"faults: {', '.join(fault) or 'none'}")
        typer.echo(f"\nlog in:        ssh -F {running.ssh_config} {running.host_alias}")
        typer.echo(
            f"add as device: bevlite device add NAME --host {running.host_alias} --ssh-config {running.ssh_config}"
        )
        typer.echo("end:           Ctrl-C")
        # A supervisor ends a service by SIGTERM: the sessions must end with it, as at Ctrl-C.
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        try:
            signal.pause()
        except KeyboardInterrupt:
            typer.echo("\nended")
