"""`bevlite search`: run, status, front, best, why, add, export, report, scan. Imports wait until a command runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bevlite.cli.json_option import json_option, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from search.study.view import StudyView

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
    workers: int | None = typer.Option(
        None, "--workers", min=1, help="Networks trained at once, on this machine: 1, or as many as --gpus allows."
    ),
    gpus: str | None = typer.Option(None, "--gpus", help="GPUs to train on, e.g. 0-3,6; all by default."),
    hours: float | None = typer.Option(None, "--hours", help="Begin nothing new after so many hours."),
    replay: Path | None = typer.Option(
        None, "--replay", metavar="LOG", help="Latencies from the measurement log of another study, without a board."
    ),
    overrides: list[str] = typer.Option([], "--set", "--cfg-options", help="Override a key: a.b=c."),
) -> None:
    """Search. Ctrl-C stops it at any time; the same command goes on."""
    import shlex
    import signal

    from search.api import run_search
    from search.report.live import watching
    from search.report.words import best_line, gain_lines
    from search.study.workers import interrupt
    from search.terminal import make_console, speaker

    console = make_console()
    say = speaker(console)
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        with watching(out, console) as heard:
            view = run_search(
                config,
                out,
                budget_ms=budget_ms,
                trials=trials,
                data=data,
                devices=devices,
                workers=workers,
                hours=hours,
                gpus=gpus,
                replay=replay,
                overrides=overrides,
                say=heard(say),
            )
    except KeyboardInterrupt:
        again = shlex.join(["bevlite", "search", "run", str(out / "search.yaml"), "--out", str(out)])
        typer.echo(f"stopped; nothing that was finished is lost. Go on with: {again}", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, previous)
    if view.outcome.pareto:
        _print_pareto(console, view)
    for line in (best_line(view), *gain_lines(view)):
        say(line)
    say(f"report: {out / 'report.html'}")


@app.command("status")
def status_command(
    study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP),
    watch: bool = typer.Option(False, "--watch", help="Keep it on the terminal, with a table, until Ctrl-C."),
    json_path: Path | None = json_option("Also write it here; - for stdout, alone."),
) -> None:
    """How far a study is."""
    import time

    from search.api import search_status
    from search.report.status import StudyStatus
    from search.report.words import status_lines
    from search.terminal import make_console

    console = make_console()
    if watch and console.is_terminal:
        from search.report.live import watching

        search_status(study)  # one that is none is said at once
        with suppress(KeyboardInterrupt), watching(study, console):
            while True:
                time.sleep(1)
    view = search_status(study)
    for line in status_lines(view):
        typer.echo(line)
    write_json(json_path, StudyStatus.of(view))


@app.command("best")
def best_command(study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP)) -> None:
    """The winner and the Pareto table. Exit code 1 when no trial is feasible."""
    from search.api import search_status, winner_of
    from search.report.words import best_line, final_line, gain_lines, race_line
    from search.terminal import make_console

    view = search_status(study)
    typer.echo(best_line(view))
    winner = winner_of(view)
    if winner is None:
        raise typer.Exit(1)
    _print_pareto(make_console(), view)
    for gained in gain_lines(view):
        typer.echo(gained)
    if (line := race_line(view)) is not None:
        typer.echo(line)
    if winner.final is not None and (line := final_line(winner.final, view.label, study / "winner")):
        typer.echo(line)
    if (study / "winner.yaml").is_file():
        typer.echo(f"variant: {study / 'winner.yaml'}")


@app.command("front")
def front_command(
    study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP),
    csv_path: Path | None = typer.Option(None, "--csv", help="Also write it there, numbers without units."),
) -> None:
    """The networks that no other beats in accuracy and latency. Exit code 1 when there is none."""
    from search.api import search_status
    from search.report.tables import write_csv
    from search.report.words import best_line
    from search.terminal import make_console

    view = search_status(study)
    if not view.outcome.pareto:
        typer.echo(best_line(view))
        raise typer.Exit(1)
    _print_pareto(make_console(), view)
    if csv_path is not None:
        write_csv(csv_path, view.outcome.pareto)
        typer.echo(f"table: {csv_path}")


@app.command("add")
def add_command(
    study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP),
    words: list[str] = typer.Argument(..., metavar="CHOICE=VALUE...", help="What is left out is drawn."),
) -> None:
    """Queue a network by hand: the search tries it before any that it proposes itself."""
    from search.api import add_trial

    number = add_trial(study, words)
    typer.echo(f"trial {number} is queued; `bevlite search run` or a worker at work takes it up: {' '.join(words)}")


@app.command("export")
def export_command(
    study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP),
    trial: int = typer.Argument(..., min=0, help="The number of a trial."),
    out: Path = typer.Option(..., "--out", help="A new folder: the run of the trial, exported."),
) -> None:
    """Take a trial out of its study as a run of its own, with its ONNX modules."""
    from search.api import export_trial

    typer.echo(f"run: {export_trial(study, trial, out)}")


@app.command("why")
def why_command(
    study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP),
    trial: int = typer.Argument(..., min=0, help="The number of a trial."),
) -> None:
    """Why a trial was rejected, paused or not chosen, and what is known of it."""
    from search.api import search_status
    from search.report.words import why_lines

    for line in why_lines(search_status(study), trial):
        typer.echo(line)


@app.command("report")
def report_command(study: Path = typer.Argument(..., metavar="STUDY", help=STUDY_HELP)) -> None:
    """Write report.html, the tables, pareto.png and winner.yaml anew."""
    from search.api import write_search_report

    typer.echo(f"report: {write_search_report(study)}")


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
    from bevlite.reporting.progress import progress
    from search.api import scan_space
    from search.scan.text import scan_lines, write_scan_csv

    with progress("reading the search") as work:
        result = scan_space(
            config,
            budget_ms=budget_ms,
            count=count,
            seed=seed,
            processes=processes,
            cache=cache,
            overrides=overrides,
            told=work.at,
        )
    for line in scan_lines(result):
        typer.echo(line)
    if csv_path is not None:
        write_scan_csv(csv_path, result)
        typer.echo(f"variants: {csv_path}")


def _print_pareto(console: Console, view: StudyView) -> None:
    from search.report.tables import pareto_rows, terminal_table

    head, rows = pareto_rows(view.outcome, view.label)
    console.print(terminal_table(f"Pareto front ({view.outcome.where})", head, rows))
