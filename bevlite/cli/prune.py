"""`bevlite prune`: a smaller network from a trained one. `bevlite finetune`: train it on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from bevlite.cli.complete import boards
from bevlite.cli.say import say
from bevlite.errors import BevliteError
from bevlite.tensorrt import DEFAULT_VERSION

if TYPE_CHECKING:
    from bevlite.compression.choice import Guide
    from bevlite.compression.importance import Importance


def prune_command(
    run: Path = typer.Argument(help="A run folder."),
    budget_ms: float | None = typer.Option(None, "--budget-ms", help="Predicted latency to meet, ms."),
    ratios: list[str] = typer.Option([], "--ratio", help="PART=SHARE to remove, e.g. camera.backbone=0.25."),
    remove: list[str] = typer.Option(
        [], "--remove", help="A block, or ROW=COUNT: so many of its blocks, e.g. camera.backbone.layers.2.blocks=2."
    ),
    heads: list[str] = typer.Option(
        [], "--heads", help="ATTENTION=COUNT: heads that are left, e.g. camera.backbone.layers.2=8."
    ),
    guide: str = typer.Option("latency", "--guide", help="With a budget: latency, macs or uniform."),
    importance: str = typer.Option("l2", "--importance", help="l2, l1, bn or taylor."),
    samples: int = typer.Option(32, "--samples", help="Training samples for taylor and --remove ROW=COUNT."),
    sensitivity: Path | None = typer.Option(
        None, "--sensitivity", help="With a budget: what `analyze sensitivity --prune` measured."
    ),
    align: int = typer.Option(8, "--align", help="What is left of a layer is a multiple of it."),
    most: float | None = typer.Option(
        None, "--most", help="The largest share that a layer may lose; 0.75, and 0.5 for a budget by norms alone."
    ),
    keep: list[str] = typer.Option([], "--keep", help="A module or layer that stays whole, e.g. lidar.*."),
    stage: str | None = typer.Option(None, "--stage", help="Weights to start from: float (default), finetuned."),
    device: str = typer.Option("agx-orin-64gb", "--device", autocompletion=boards, help="Whose latency counts."),
    tensorrt: str = typer.Option(DEFAULT_VERSION, "--tensorrt", help="The TensorRT version on it."),
    power_mode: str = typer.Option("", "--power-mode", help="nvpmodel mode, such as 50W; MAXN by default."),
) -> None:
    """Remove blocks, heads and channels of a trained network, by part or for a latency."""
    from bevlite.api.compressing import prune
    from bevlite.reporting.pruning import pruning_table

    made = prune(
        run,
        ratios=_ratios(ratios),
        budget_ms=budget_ms,
        remove=_counts("--remove", remove),
        heads=_heads(heads),
        guide=cast("Guide", guide),
        importance=cast("Importance", importance),
        samples=samples,
        sensitivity=sensitivity,
        align=align,
        most=most,
        keep=keep,
        stage=stage,
        device=device,
        tensorrt=tensorrt,
        power_mode=power_mode,
        say=say,
    )
    typer.echo(pruning_table(made.groups, vars(made.before), vars(made.after), device, made.removed))
    typer.echo(f"written: {run / 'checkpoints' / 'pruned.yaml'}, not trained yet: bevlite finetune {run}")


def _ratios(pairs: list[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        name, equals, share = pair.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise BevliteError(f"--ratio: found '{pair}'; accepted: PART=SHARE, e.g. camera.backbone=0.25")
    return found


def _counts(option: str, words: list[str]) -> dict[str, int | None]:
    """`PATTERN` and `PATTERN=COUNT` by pattern."""
    found: dict[str, int | None] = {}
    for word in words:
        name, equals, count = word.partition("=")
        if not name or (equals and not count.isdecimal()):
            raise BevliteError(f"{option}: found '{word}'; accepted: PATTERN=COUNT, e.g. camera.backbone.layers.2.*=2")
        found[name] = int(count) if equals else None
    return found


def _heads(words: list[str]) -> dict[str, int]:
    found = {}
    for name, count in _counts("--heads", words).items():
        if count is None:
            raise BevliteError(f"--heads: found '{name}'; accepted: ATTENTION=COUNT, e.g. camera.backbone.layers.2=8")
        found[name] = count
    return found


def finetune_command(
    run: Path = typer.Argument(help="A run folder with a pruned or imported network."),
    recipe: Path | None = typer.Option(None, "--recipe", help="A recipe; a quarter of the run's own by default."),
    recipe_overrides: list[str] = typer.Option([], "--set-recipe", help="Override a key of the recipe: a.b=c."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes)."),
    evaluate: bool = typer.Option(True, help="Score the validation split at the end."),
) -> None:
    """Train a pruned or imported network on; goes on where it was stopped."""
    from bevlite.api.compressing import finetune

    finetune(run, recipe=recipe, recipe_overrides=recipe_overrides, devices=devices, evaluate=False)
    if evaluate:
        from bevlite.evaluation.run import accuracy_table, evaluate_run

        typer.echo(accuracy_table(evaluate_run(run, stage="finetuned", progress=True)))
    typer.echo(f"written: {run / 'checkpoints' / 'finetuned.safetensors'}")


def register(parent: typer.Typer) -> None:
    """Add `prune` and `finetune` to the command line."""
    parent.command("prune")(prune_command)
    parent.command("finetune")(finetune_command)
