"""`bevlite search`: run, status, best, report. What needs torch or Optuna is imported when a command runs."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(help="Find the most accurate network within a latency budget.", no_args_is_help=True)

STUDY_HELP = "The folder of a study (the --out of `run`)."


@app.command("run")
def run_command(
    config: Path = typer.Argument(..., metavar="SEARCH.yaml", help="The search file."),
    out: Path = typer.Option(..., "--out", help="The study folder; an existing one is gone on with."),
    budget_ms: float | None = typer.Option(None, "--budget-ms", help="End-to-end latency in ms."),
    trials: int | None = typer.Option(None, "--trials", min=1, help="Number of trials in all."),
    data: str | None = typer.Option(None, "--data", help="A nuScenes-format root, or a data YAML file."),
    devices: int = typer.Option(1, "--devices", min=1, help="GPUs (or CPU processes) per network."),
    workers: int = typer.Option(1, "--workers", min=1, help="Networks trained at once, on this machine."),
    replay: Path | None = typer.Option(
        None, "--replay", metavar="LOG", help="Latencies from the measurement log of another study, without a board."
    ),
    overrides: list[str] = typer.Option([], "--set", "--cfg-options", help="Override a key: a.b=c."),
) -> None:
    """Search. Ctrl-C stops it at any time; the same command goes on."""
    from search import commands

    commands.run(config, out, budget_ms, trials, data, devices, workers, replay, overrides)


@app.command("status")
def status_command(study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP)) -> None:
    """How far a study is."""
    from search import commands

    commands.status(study)


@app.command("best")
def best_command(study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP)) -> None:
    """The winner and the Pareto table. Exit code 1 when no trial is feasible."""
    from search import commands

    commands.best(study)


@app.command("report")
def report_command(study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP)) -> None:
    """Write report.html, the tables, pareto.png and winner.yaml anew."""
    from search import commands

    commands.report(study)


@app.command("scan")
def scan_command(
    config: Path = typer.Argument(..., metavar="SEARCH.yaml", help="The search file; its data need not exist."),
    budget_ms: float | None = typer.Option(None, "--budget-ms", help="End-to-end latency in ms."),
    count: int = typer.Option(10_000, "--count", min=1, help="Variants to predict; all when there are fewer."),
    seed: int = typer.Option(0, "--seed", help="Seed of the draw."),
    csv_path: Path | None = typer.Option(None, "--csv", help="Write every variant here."),
    cache: Path | None = typer.Option(None, "--cache", help="A folder that keeps predictions for the next scan."),
    processes: int | None = typer.Option(None, "--processes", min=1, help="By default one a core."),
    overrides: list[str] = typer.Option([], "--set", "--cfg-options", help="Override a key: a.b=c."),
) -> None:
    """Predict the latency of many networks of a space at once; nothing is trained."""
    from search import commands

    commands.scan(config, budget_ms, count, seed, csv_path, cache, processes, overrides)
