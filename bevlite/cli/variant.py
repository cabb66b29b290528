"""`bevlite variant show`: a variant resolved, with parameters and MACs per module."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Describe networks.", no_args_is_help=True)


@app.command()
def show(
    file: Path = typer.Argument(help="A variant YAML file."),
    overrides: list[str] = typer.Option([], "--set", "--cfg-options", help="Override a key: a.b=c."),
) -> None:
    """Print a variant resolved, its hash, and parameters and MACs of each module."""
    from rich.console import Console
    from rich.table import Table

    from bevlite.analysis.cost import module_costs
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


def register(parent: typer.Typer) -> None:
    """Add `variant` to the command line."""
    parent.add_typer(app, name="variant")
