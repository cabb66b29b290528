"""`bevlite plan-b`: where a limit is missed, every way out with what it saves and what it is likely to cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.compression.plan_b.plan import PlanB, Step


def plan_b_command(
    source: Path = typer.Argument(help="A run folder, or a variant file."),
    budget_ms: float = typer.Option(..., "--budget-ms", min=0.0, help="Latency to be met, ms."),
    device: str = typer.Option("agx-orin-64gb", "--device", help="A board of configs/devices, or a YAML file."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    power_mode: str = typer.Option("", "--power-mode", help="nvpmodel mode, such as 50W; MAXN by default."),
    out: Path | None = typer.Option(None, "--out", help="Folder for each way as a variant file, and plan_b.json."),
) -> None:
    """List every way out, by loss of NDS for each millisecond; nothing is trained or measured."""
    from bevlite.api.packaging import plan_b

    found = plan_b(source, budget_ms=budget_ms, device=device, tensorrt=tensorrt, power_mode=power_mode, out=out)
    _show(found)
    if out is not None:
        typer.echo(f"written: {out / 'plan_b.json'} and {len(found.steps)} variants")


def _show(found: PlanB) -> None:
    from bevlite.reporting.analysis import aligned

    verdict = "fits" if found.fits else "too slow"
    typer.echo(
        f"{found.network} on {found.device} ({found.power_mode}, TensorRT {found.tensorrt}): {found.ms:.2f} ms "
        f"({found.lower_ms:.2f} to {found.upper_ms:.2f}) predicted, {found.budget_ms:g} ms to be met: {verdict}"
    )
    head = ["", "way", "ms", "interval", "saved", "fits", "NDS lost", "per ms"]
    rows = [_row(number, step) for number, step in enumerate(found.steps, start=1)]
    typer.echo(aligned([head, *rows]))
    for number, step in enumerate(found.steps, start=1):
        gone = f"; gone: {step.gone}" if step.gone else ""
        note = f"; {step.note}" if step.note else ""
        device = f"; device file: build.dla {step.build['dla']}" if step.build else ""
        typer.echo(f"{number:2} NDS: {step.source}{gone}{note}{device}")
    for line in found.impossible:
        typer.echo(f"not possible: {line}")
    for note in found.notes:
        typer.echo(f"note: {note}")


def _row(number: int, step: Step) -> list[str]:
    per_ms = step.loss_per_ms
    return [
        str(number),
        step.words,
        f"{step.ms:.2f}",
        f"{step.lower_ms:.2f}-{step.upper_ms:.2f}",
        f"{step.saved_ms:.2f}",
        "surely" if step.surely else "yes" if step.fits else "no",
        "unknown" if step.loss is None else f"{step.loss:.1%}",
        "-" if per_ms is None else f"{per_ms:.2%}",
    ]


def register(parent: typer.Typer) -> None:
    """Add `plan-b` to the command line."""
    parent.command("plan-b")(plan_b_command)
