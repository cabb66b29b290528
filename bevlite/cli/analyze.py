"""`bevlite analyze`: where a network's cost is, what values its layers hold, how much each of them matters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.analyze_profile import profile_command
from bevlite.cli.analyze_sensitivity import sensitivity_command
from bevlite.cli.complete import boards, settings
from bevlite.cli.json_option import json_option
from bevlite.cli.say import say
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.run_folder import Stage

app = typer.Typer(help="Look into networks: where their cost is, what values they hold.", no_args_is_help=True)


@app.command()
def complexity(
    source: Path = typer.Argument(help="A variant YAML file, or a run folder."),
    depth: int = typer.Option(2, "--depth", min=1, max=20, help="Names of a path that make a part."),
    layers: bool = typer.Option(False, "--layers", help="Every layer."),
    predict: bool = typer.Option(False, "--predict", help="Milliseconds too, as they are predicted."),
    device: str = typer.Option("agx-orin-64gb", "--device", autocompletion=boards, help="For which board."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    overrides: list[str] = typer.Option(
        [], "--set", "--cfg-options", autocompletion=settings, help="Override a key of the variant: a.b=c."
    ),
    json_path: Path | None = json_option(),
) -> None:
    """Parameters, multiply-adds, bytes of weights and activations by part or layer."""
    from bevlite.api.analysing import complexity
    from bevlite.reporting.analysis import complexity_table, sizes_line

    rows, ms = complexity(
        source,
        depth=depth,
        layers=layers,
        predict=predict,
        device=device,
        tensorrt=tensorrt,
        overrides=overrides,
        json_path=json_path,
    )
    typer.echo(complexity_table(rows, ms))
    typer.echo(sizes_line(rows))
    if predict:
        typer.echo(f"ms: predicted for the engines on {device}, TensorRT {tensorrt}; nothing was measured")


@app.command()
def ranges(
    run: Path = typer.Argument(help="A run folder."),
    samples: int = typer.Option(16, "--samples", help="Samples of the training split."),
    stage: str | None = typer.Option(None, "--stage", help="Weights of which stage; the last one by default."),
    out: Path | None = typer.Option(None, "--out", help="Also draw them there (PNG)."),
    json_path: Path | None = json_option("Also write them there; - for stdout, alone."),
) -> None:
    """Largest values of weights and activations beside what FP16 and INT8 can hold, and silent channels."""
    from bevlite.api.analysing import ranges
    from bevlite.reporting.analysis import ranges_table

    chosen = cast("Stage | None", stage)
    found = ranges(run, samples=samples, stage=chosen, out=out, json_path=json_path, say=say)
    typer.echo(ranges_table(found))
    risks = [one.path for one in found if one.overflows]
    typer.echo(f"FP16 may overflow in {len(risks)} of {len(found)} layers" + (f": {', '.join(risks)}" if risks else ""))
    if out is not None:
        typer.echo(f"written: {out}")


@app.command()
def layers(
    run: Path = typer.Argument(help="A run folder."),
    stage: str | None = typer.Option(None, "--stage", help="Weights of which stage; the last one by default."),
    json_path: Path | None = json_option("Also write them there; - for stdout, alone."),
) -> None:
    """Weights of each layer: how large, how many near zero, channels that give next to nothing."""
    from bevlite.api.analysing import layers
    from bevlite.reporting.analysis import weights_table

    found = layers(run, stage=cast("Stage | None", stage), json_path=json_path)
    typer.echo(weights_table(found))
    weak = [one.path for one in found if one.dead]
    dead = sum(one.dead for one in found)
    typer.echo(f"{dead} dead channels in {len(weak)} of {len(found)} layers" + (f": {', '.join(weak)}" if weak else ""))


app.command("profile")(profile_command)
app.command("sensitivity")(sensitivity_command)


def register(parent: typer.Typer) -> None:
    """Add `analyze` to the command line."""
    parent.add_typer(app, name="analyze")
