"""`bevlite variant show|reach`: a variant resolved, with parameters and MACs; where a camera's pixels land in BEV."""

from __future__ import annotations

from pathlib import Path

import typer

from bevlite.cli.complete import settings
from bevlite.cli.json_option import json_option, write_json

app = typer.Typer(help="Describe networks.", no_args_is_help=True)


@app.command()
def show(
    file: Path = typer.Argument(help="A variant YAML file."),
    overrides: list[str] = typer.Option(
        [], "--set", "--cfg-options", autocompletion=settings, help="Override a key: a.b=c."
    ),
    json_path: Path | None = json_option("Also write all of it here; - for stdout, alone."),
) -> None:
    """Print a variant resolved, its hash, and parameters and MACs of each module."""
    from rich.console import Console
    from rich.table import Table

    from bevlite.analysis.cost import VariantReport, module_costs
    from bevlite.config import to_yaml
    from bevlite.variant import load_variant

    variant = load_variant(file, overrides)
    typer.echo(to_yaml(variant))
    table = Table(title=f"{variant.name}  (hash {variant.hash})")
    for column in ("module", "parameters [M]", "MACs [G]"):
        table.add_column(column, justify="left" if column == "module" else "right")
    costs = module_costs(variant)
    for cost in costs:
        table.add_row(cost.name, f"{cost.parameters / 1e6:.3f}", f"{cost.macs / 1e9:.3f}")
    total = sum(c.parameters for c in costs), sum(c.macs for c in costs)
    table.add_row("total", f"{total[0] / 1e6:.3f}", f"{total[1] / 1e9:.3f}", style="bold")
    Console().print(table)
    typer.echo("1 MAC = one multiply-add of a convolution or matrix product, for one frame (all cameras).")
    write_json(json_path, VariantReport.of(variant, costs))


@app.command()
def reach(
    sources: list[Path] = typer.Argument(help="Variant files, or run folders for their trained weights."),
    data: Path = typer.Option(..., "--data", help="A data root, or a data YAML file."),
    out: Path = typer.Option(..., "--out", help="The PNG file to write."),
    sample: int = typer.Option(0, "--sample", min=0, help="Which sample of the split, from 0."),
    split: str | None = typer.Option(None, "--split", help="An official split; the validation split by default."),
    camera: str = typer.Option("CAM_FRONT", "--camera", help="Whose pixels."),
) -> None:
    """Draw where the pixels of one camera land in BEV, a panel for each network."""
    from bevlite.api.networks import show_reach

    show_reach(sources, data=data, out=out, sample=sample, split=split, camera=camera)
    typer.echo(f"written: {out}")


def register(parent: typer.Typer) -> None:
    """Add `variant` to the command line."""
    parent.add_typer(app, name="variant")
