"""`bevlite device check-engine`: golden inputs and outputs of a run's engines."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.complete import devices
from bevlite.cli.say import say

BAD = 1


def check_engine(
    run: Path = typer.Argument(help="A run folder with exported modules."),
    device: str = typer.Option(..., "--device", autocompletion=devices, help="One board (bevlite device list)."),
    samples: int = typer.Option(2, "--samples", min=1, help="Golden samples of the run's data."),
) -> None:
    """Compare a run's engines with ONNX Runtime, and name the first bad layer (exit code 1 then)."""
    from bevlite.cli.deploy_text import show_golden
    from bevlite.devices.files import open_board

    with open_board(device, say) as board:
        from bevlite.deploy.golden import check_engine_of_run  # seconds, which a wrong name need not wait for

        found = check_engine_of_run(board, run, samples)
        kind = board.kind
    show_golden(found)
    if kind == "emulated":
        typer.echo("EMULATED: the outputs are not those of a board")
    if not found.good:
        raise typer.Exit(BAD)
