"""The whole of a search: its trials, by one process or several, and then its winner."""

from __future__ import annotations

import time
from pathlib import Path

from bevlite.locks import FileLock
from search.config import ResolvedSearch
from search.latency.check import why_unchecked
from search.space.samplers import MODEL
from search.study.backend import Backend
from search.study.study import Study
from search.study.winner import finish_winner
from search.study.workers import environment, run_workers
from search.terminal import Say


def run_to_the_winner(
    search: ResolvedSearch,
    folder: Path,
    backend: Backend,
    say: Say,
    devices: int = 1,
    workers: int = 1,
    hours: float | None = None,
    gpus: list[str] | None = None,
) -> None:
    """Run trials until there are enough, then train and export the winner.

    Args:
        search: the search.
        folder: the study folder; an existing one is gone on with.
        backend: what trains, predicts and measures.
        say: where events go.
        devices: GPUs (or CPU processes) per network.
        workers: networks trained at once.
        gpus: on which they are trained, as CUDA names them; by default on all that there are.
        hours: after which no trial, and no rung of one, is begun; what runs is brought to its rung, and the winner to
            its end.

    Raises:
        BevliteError: what no trial would escape; all that was finished is kept.
    """
    study = Study(search, folder, backend, say, None if hours is None else time.time() + 3600 * hours)
    size = search.space.size()
    combinations = f"{size} combinations" if size is not None else "very many combinations"
    say(
        f"study {folder}: {len(search.space.choices)} choices ({combinations}), "
        f"budget {search.config.constraints.most_ms:g} ms on {search.config.device.title}, "
        f"{search.config.trials} {'full trainings' if search.config.sampler == MODEL else 'trials'}"
    )
    data = search.data
    say(
        f"data {data.root} ({data.version}): trained on {data.train_split}, scored on {data.val_split}; networks after "
        f"{search.base.name}, up to {search.config.fidelity.epochs} epochs each, {workers} at once, {devices} "
        "device(s) each"
    )
    unchecked = why_unchecked(search.config.device.check)
    if unchecked is not None:
        say(f"networks are not checked by NVIDIA's compiler before they are trained: {unchecked}")
    # One process trains all: what it may see has to be said before CUDA is first asked.
    seen = {"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {}
    if workers > 1:
        run_workers(study, workers, devices, say, gpus)
    else:
        with environment(seen):
            study.run()
    if study.outcome.choice is not None:
        with environment(seen):
            _finish(study, say)


def _finish(study: Study, say: Say) -> None:
    lock = FileLock(study.folder / ".winner.lock")
    if study.busy_elsewhere or not lock.acquire(wait=False):
        say("another process is still at work on this study; the last one to finish trains the winner")
        return
    try:
        study.measure_winner(wait=True)
        outcome = study.outcome
        finish_winner(study.search, outcome, study.folder, study.trial_folder, study.backend, say)
    finally:
        lock.release()
