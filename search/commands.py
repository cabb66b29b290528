"""What the commands of `bevlite search` do."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Iterable
from pathlib import Path

import typer
from rich.console import Console

from bevlite.errors import BevliteError
from search.config import ResolvedSearch, load_search
from search.latency.boards import BoardLatency
from search.latency.predicted import LatencySource
from search.report.outcome import Outcome, budget_words, no_feasible
from search.report.report import write_report
from search.report.scan_report import scan_lines, write_scan_csv
from search.report.tables import pareto_rows, terminal_table
from search.space.scan import LISTED, available_cores
from search.space.scan import scan as scan_space
from search.study.backend import Backend, Latencies, LocalBackend
from search.study.locks import FileLock, held_elsewhere
from search.study.store import open_for_reading, records_of
from search.study.study import Study
from search.study.winner import finish_winner, read_result
from search.study.workers import interrupt, run_workers
from search.terminal import Say, make_console, speaker


def run(
    config: Path,
    out: Path,
    budget_ms: float | None,
    trials: int | None,
    data: str | None,
    devices: int,
    workers: int,
    replay: Path | None,
    overrides: Iterable[str],
) -> None:
    """Search until there are enough trials, then finish the winner and write the report."""
    limits = {} if budget_ms is None else {"budget_ms": budget_ms}
    if replay is not None:
        overrides = [*overrides, f"device.replay={json.dumps(str(replay.resolve()))}"]
    search = load_search(config, overrides, data, limits)
    if trials is not None:
        search = search.with_trials(trials)
    backend = make_backend(search, out, devices)
    console = make_console()
    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        run_search(search, out, backend, speaker(console), console, devices, workers)
    except KeyboardInterrupt:
        again = shlex.join(["bevlite", "search", "run", str(out / "search.yaml"), "--out", str(out)])
        typer.echo(f"stopped; nothing that was finished is lost. Go on with: {again}", err=True)
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def status(study: Path) -> None:
    """How far a study is."""
    search, outcome = load_study(study)
    counts = ", ".join(f"{count} {state}" for state, count in outcome.counts.items()) or "no trials"
    typer.echo(f"{study}: {len(outcome.records)} of {search.config.trials} trials ({counts})")
    for record in outcome.records:
        if record.state == "running":
            with held_elsewhere(study / "trials" / f".{record.number:04d}.lock") as alive:
                words = "is running" if alive else "was interrupted; `bevlite search run` goes on with it"
            done = f"epoch {record.last_epoch} done"
            typer.echo(f"trial {record.number} {words} ({done})  {record.params_text}")
    typer.echo(f"budget {outcome.budget_ms:g} ms, {search.config.device.title}; accuracy on {outcome.where}")
    typer.echo(_best_line(search, outcome))


def best(study: Path) -> None:
    """The winner and the Pareto table. Exit code 1 when no trial is feasible."""
    search, outcome = load_study(study)
    typer.echo(_best_line(search, outcome))
    if outcome.choice is None:
        raise typer.Exit(1)
    _print_pareto(make_console(), search, outcome)
    final = read_result(study)
    if final is not None and final.score is not None and final.trial == outcome.choice[0].number:
        score, label = final.score, search.config.objectives.label
        typer.echo(
            f"final training, {final.epochs} epochs: {label} {score['accuracy']:.4f} "
            f"({score['split']}, {score['samples']} samples)  run: {study / 'winner'}"
        )
    if (study / "winner.yaml").is_file():
        typer.echo(f"variant: {study / 'winner.yaml'}")


def report(study: Path) -> None:
    """Write report.html, pareto.csv, pareto.png and winner.yaml anew."""
    search, outcome = load_study(study)
    typer.echo(f"report: {write_report(search, outcome, study)}")


def scan(
    config: Path,
    budget_ms: float | None,
    count: int,
    seed: int,
    csv_path: Path | None,
    cache: Path | None,
    processes: int | None,
    overrides: Iterable[str],
) -> None:
    """Predict many variants of a space and say which keep the budget."""
    limits = {} if budget_ms is None else {"budget_ms": budget_ms}
    search = load_search(config, overrides, None, limits, need_data=False)
    result = scan_space(search, count, seed, processes or available_cores(), cache)
    for line in scan_lines(search, result, search.space.size(LISTED)):
        typer.echo(line)
    if csv_path is not None:
        write_scan_csv(csv_path, search, result)
        typer.echo(f"variants: {csv_path}")


def make_backend(search: ResolvedSearch, out: Path, devices: int) -> Backend:
    """What trains and predicts for real."""
    choice, folder = search.config.device, out / "latency"
    latency: Latencies = (
        BoardLatency(search.device, choice, search.data, folder)
        if choice.measures
        else LatencySource(search.device, choice, folder)
    )
    return LocalBackend(search.data, latency, devices)


def run_search(
    search: ResolvedSearch, out: Path, backend: Backend, say: Say, console: Console, devices: int = 1, workers: int = 1
) -> Outcome:
    """The whole of `run`: trials, winner, report."""
    study = Study(search, out, backend, say)
    size = search.space.size()
    combinations = f"{size} combinations" if size is not None else "very many combinations"
    say(
        f"study {out}: {len(search.space.choices)} choices ({combinations}), "
        f"budget {search.config.constraints.budget_ms:g} ms on {search.config.device.title}, "
        f"{search.config.trials} trials"
    )
    if workers > 1:
        run_workers(study, workers, devices, say)
    else:
        study.run()
    outcome = study.outcome
    if outcome.choice is not None:
        lock = FileLock(out / ".winner.lock")
        if study.busy_elsewhere or not lock.acquire(wait=False):
            say("another process is still at work on this study; the last one to finish trains the winner")
        else:
            try:
                study.measure_winner(wait=True)
                outcome = study.outcome
                assert outcome.choice is not None
                trained = study.trial_folder(outcome.choice[0].number)
                finish_winner(search, outcome, out, trained, backend, say)
            finally:
                lock.release()
    page = write_report(search, outcome, out)
    if outcome.pareto:
        _print_pareto(console, search, outcome)
    say(_best_line(search, outcome))
    say(f"report: {page}")
    return outcome


def load_study(folder: Path) -> tuple[ResolvedSearch, Outcome]:
    """The search of a study folder and its trials (raises BevliteError when it is none)."""
    file = folder / "search.yaml"
    if not file.is_file():
        raise BevliteError(f"{folder}: no study (search.yaml is missing); accepted: the --out of a search run")
    search = load_search(file, need_data=False)
    study = open_for_reading(folder, search.config.storage)
    records = records_of(study, search.config.fidelity.epochs)
    shown = tuple(record for record in records if record.state != "waiting")
    return search, Outcome(shown, search.config.constraints.budget_ms)


def _best_line(search: ResolvedSearch, outcome: Outcome) -> str:
    label = search.config.objectives.label
    if outcome.choice is None:
        return no_feasible(outcome, label)
    record, winner = outcome.choice
    assert record.latency is not None
    return (
        f"best: trial {record.number}, {label} {record.accuracy:.4f} after {record.last_epoch} epochs "
        f"({outcome.where}), {record.latency.text}, budget {outcome.budget_ms:g} ms: "
        f"{budget_words(record, winner)}  {record.params_text}"
    )


def _print_pareto(console: Console, search: ResolvedSearch, outcome: Outcome) -> None:
    head, rows = pareto_rows(outcome, search.config.objectives.label)
    console.print(terminal_table(f"Pareto front ({outcome.where})", head, rows))
