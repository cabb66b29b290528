"""`bevlite deploy`: does a run fit a board, and does the engine compute what the network does?"""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.complete import devices
from bevlite.cli.say import news


def deploy_command(
    run: Path = typer.Argument(help="A run folder."),
    device: str = typer.Option(..., "--device", autocompletion=devices, help="One board (bevlite device list)."),
    budget_ms: float = typer.Option(..., "--budget-ms", min=0.0, help="Largest P99 of the latency, in ms."),
    min_fps: float | None = typer.Option(None, "--min-fps", min=0.0, help="Smallest frame rate, one frame in flight."),
    max_power_w: float | None = typer.Option(None, "--max-power-w", min=0.0, help="Largest power of the module, in W."),
    max_memory_mb: float | None = typer.Option(None, "--max-memory-mb", min=0.0, help="Largest memory, in MB."),
    max_drop: float | None = typer.Option(
        None, "--max-drop", min=0.0, help="Largest loss of NDS or mIoU against torch (0..1); evaluates the engine."
    ),
    split: str | None = typer.Option(None, "--split", help="Split for --max-drop; the validation split by default."),
    samples: int = typer.Option(8, "--samples", min=1, help="Samples that whole frames are timed on."),
    end_to_end: bool = typer.Option(
        True, "--end-to-end/--no-end-to-end", help="Time whole frames; without, the latency is the sum of the engines."
    ),
) -> None:
    """Check, export, build, verify and measure a run on a board, and compare with every limit.

    Exit code 0: all limits are met on a real board by an accurate engine. 1: one is not, or the board has a problem.
    3: the board is emulated.
    """
    from bevlite.api.boards import deploy
    from bevlite.cli.deploy_text import show_deploy
    from bevlite.devices.report.deploy import EXIT_CODES

    report = deploy(
        run,
        device=device,
        budget_ms=budget_ms,
        min_fps=min_fps,
        max_power_w=max_power_w,
        max_memory_mb=max_memory_mb,
        max_drop=max_drop,
        split=split,
        samples=samples,
        end_to_end=end_to_end,
        say=news(),
    )
    show_deploy(report)
    typer.echo(f"written: {run / 'deploy' / report.device / 'report.json'} and report.html")
    raise typer.Exit(EXIT_CODES[report.verdict])


def register(parent: typer.Typer) -> None:
    """Add `deploy` to the command line."""
    parent.command("deploy")(deploy_command)
