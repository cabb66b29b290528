"""What a search can do, as functions: the command line and a notebook call the same ones.

What needs torch is imported when a function needs it: `search_status`, `search_winner` and `write_search_report` read a
study without.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bevlite.errors import BevliteError, NothingFound
from search.config import ResolvedSearch, load_search
from search.study.records import TrialRecord
from search.study.view import StudyView, load_study
from search.study.winner import FinalResult, read_result
from search.terminal import Say, make_console, speaker

if TYPE_CHECKING:
    from search.model.sampler import ModelSampler
    from search.scan.result import ScanResult

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class SearchWinner:
    """The winner of a study.

    `certain` says whether even the upper end of its latency is within the budget. `variant` is the network as a
    mapping (that of winner.yaml). `final` is what its own, longer training gave, and `run` the folder of that run;
    None while there is none.
    """

    trial: TrialRecord
    certain: bool
    variant: dict[str, Any]
    final: FinalResult | None
    run: Path | None


def run_search(
    config: PathLike,
    out: PathLike,
    *,
    budget_ms: float | None = None,
    trials: int | None = None,
    data: str | None = None,
    devices: int = 1,
    workers: int | None = None,
    hours: float | None = None,
    gpus: str | None = None,
    replay: PathLike | None = None,
    overrides: Iterable[str] = (),
    say: Say | None = None,
) -> StudyView:
    """Search until there are enough trials, train and export the winner, and write the report.

    Ctrl-C stops it at any time; what was finished is kept, and the same call goes on. With several `workers` the
    calling script needs `if __name__ == "__main__":`, as always with processes in Python.

    Args:
        config: the search file.
        out: the study folder; an existing one is gone on with.
        budget_ms: end-to-end latency in ms, in place of the file's.
        trials: number of trials in all, in place of the file's.
        data: a nuScenes-format root or a data YAML file, in place of the file's.
        devices: GPUs (or CPU processes) per network.
        workers: networks trained at once, on this machine; by default one, or with `gpus` as many as these allow.
        hours: after which nothing new is begun; more than 0. The winner so far is trained and exported then.
        gpus: numbers of GPUs to train on, such as `0-3,6`; by default all that there are.
        replay: the measurement log of another study, to take latencies from without a board.
        overrides: settings of the file, `a.b=c`.
        say: where events go; by default to the terminal, with the time before them.

    Returns:
        The study as it is then.

    Raises:
        ConfigError: the file is wrong, or the folder holds another search.
        BevliteError: what no trial would escape, such as data that cannot be used.
    """
    from search.report.report import write_report
    from search.study.gpus import chosen_gpus
    from search.study.local_backend import make_backend
    from search.study.run import run_to_the_winner

    if hours is not None and not 0 < hours < math.inf:
        raise BevliteError(f"hours: found {hours:g}; accepted: more than 0")
    if replay is not None:
        overrides = [*overrides, f"device.replay={json.dumps(str(Path(replay).resolve()))}"]
    search = _load(config, overrides, budget_ms, data)
    if trials is not None:
        search = search.with_trials(trials)
    folder = Path(out)
    backend = make_backend(search, folder, devices)
    chosen = chosen_gpus(gpus) if gpus is not None else None
    if chosen is not None and devices > len(chosen):
        raise BevliteError(f"gpus: found {len(chosen)} for --devices {devices}; accepted: as many as a network gets")
    count = workers or (len(chosen) // devices if chosen else 1)
    run_to_the_winner(search, folder, backend, say or speaker(make_console()), devices, count, hours, chosen)
    view = load_study(folder)
    write_report(view)
    return view


def resume_search(
    study: PathLike,
    *,
    trials: int | None = None,
    devices: int = 1,
    workers: int | None = None,
    hours: float | None = None,
    gpus: str | None = None,
    say: Say | None = None,
) -> StudyView:
    """Go on with a study, from the search file in its folder; arguments, result and errors are those of `run_search`.

    Raises:
        BevliteError: the folder holds no study.
    """
    file = load_study(Path(study)).search_file
    return run_search(file, study, trials=trials, devices=devices, workers=workers, hours=hours, gpus=gpus, say=say)


def search_status(study: PathLike) -> StudyView:
    """A study as it is now, finished or not: its search file, trials, Pareto front and winner.

    Raises:
        BevliteError: the folder holds no study.
    """
    return load_study(Path(study))


def search_winner(study: PathLike) -> SearchWinner | None:
    """The winner of a study so far; None when no trial is feasible.

    Raises:
        BevliteError: the folder holds no study.
    """
    return winner_of(load_study(Path(study)))


def winner_of(view: StudyView) -> SearchWinner | None:
    """The same of a study that was read already."""
    if view.outcome.choice is None:
        return None
    record, winner = view.outcome.choice
    final, run = read_result(view.folder), view.folder / "winner"
    if final is not None and final.trial != record.number:
        final = None
    known = run if final is not None and run.is_dir() else None
    return SearchWinner(record, not winner.flagged, view.winner_variant, final, known)


def add_trial(study: PathLike, words: Iterable[str]) -> int:
    """Queue a network of a study's space, which is tried before any that the search proposes; its number.

    Args:
        study: the study folder.
        words: `choice=value`; what is left out is drawn when it is tried.

    Raises:
        BevliteError: the folder holds no study, the same network was asked for before, or a word is wrong.
    """
    from search.study.by_hand import chosen, queue

    search = load_search(load_study(Path(study)).search_file)
    return queue(search, Path(study), chosen(search, words))


def export_trial(study: PathLike, trial: int, out: PathLike) -> Path:
    """Take a trial out of its study as a run of its own, exported for the board of the search; the run.

    Args:
        study: the study folder.
        trial: its number.
        out: the run folder to make.

    Raises:
        BevliteError: no such study or trial, the trial has no weights here, `out` exists, or it cannot be exported.
    """
    from search.study.by_hand import take_out
    from search.study.local_backend import make_backend

    view, folder = load_study(Path(study)), Path(study)
    record, search = view.record(trial), load_search(view.search_file)
    return take_out(search, folder, record, Path(out), make_backend(search, folder))


def write_search_report(study: PathLike) -> Path:
    """Write report.html, both tables, pareto.png and, if there is one, winner.yaml anew; returns the report.

    Raises:
        BevliteError: the folder holds no study.
    """
    from search.report.report import write_report

    return write_report(load_study(Path(study)))


def scan_space(
    config: PathLike,
    *,
    budget_ms: float | None = None,
    count: int = 10_000,
    seed: int = 0,
    processes: int | None = None,
    cache: PathLike | None = None,
    overrides: Iterable[str] = (),
    told: Callable[[str, int, int], None] | None = None,
) -> ScanResult:
    """Predict the latency of many networks of a space at once; nothing is trained, and the data need not exist.

    Args:
        config: the search file.
        budget_ms: end-to-end latency in ms, in place of the file's.
        count: how many variants; all when there are fewer.
        seed: of the draw.
        processes: how many predict at once; by default one a core.
        cache: a folder that keeps predictions for the next scan.
        overrides: settings of the file, `a.b=c`.
        told: what is counted, how many of them are done, and of how many.

    Raises:
        ConfigError: the file is wrong.
    """
    from search.scan.modules import available_cores
    from search.scan.scan import scan

    search = _load(config, overrides, budget_ms, None, need_data=False)
    kept = Path(cache) if cache is not None else None
    return scan(search, count, seed, processes or available_cores(), kept, told=told or (lambda *_: None))


def model_sampler(
    config: PathLike,
    *,
    budget_ms: float | None = None,
    count: int = 10_000,
    seed: int = 0,
    cache: PathLike | None = None,
    overrides: Iterable[str] = (),
) -> ModelSampler:
    """The search's model as a sampler of Optuna, over what may fit of a space: for an objective of your own.

        sampler = model_sampler("search.yaml", budget_ms=40)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        study.optimize(lambda trial: my_score(sampler.space.sample(trial)), n_trials=30)

    Args:
        config: the search file; of it space, base, device, goal, trials, startup_trials and the limits of latency and
            memory count.
        budget_ms: end-to-end latency in ms, in place of the file's.
        count: how many networks are scanned at most.
        seed: of the scan's draw and of the proposals.
        cache: a folder that keeps predictions for the next scan.
        overrides: settings of the file, `a.b=c`.

    Raises:
        ConfigError: the file is wrong.
        NothingFound: no network may fit; it names the nearest.
    """
    from search.model.sampler import ModelSampler
    from search.study.local_backend import as_scanned
    from search.study.pool import nothing_fits, what_may_fit
    from search.study.proposals import arrays_of

    search = _load(config, overrides, budget_ms, None, need_data=False)
    found = scan_space(config, budget_ms=budget_ms, count=count, seed=seed, cache=cache, overrides=overrides)
    pool = what_may_fit(search, *as_scanned(found))
    limit = search.config.constraints.most_ms
    if not pool.rows:
        raise NothingFound(nothing_fits(pool, search.config.constraints))
    return ModelSampler(
        search.space, arrays_of(pool, limit), budget_ms=limit, goal=search.config.goal, seed=seed,
        startup_trials=search.startup_trials,
    )  # fmt: skip


def _load(
    config: PathLike, overrides: Iterable[str], budget_ms: float | None, data: str | None, need_data: bool = True
) -> ResolvedSearch:
    limits = {} if budget_ms is None else {"budget_ms": budget_ms}
    return load_search(Path(config), overrides, data, limits, need_data)
