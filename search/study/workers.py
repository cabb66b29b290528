"""Several processes at work on one study: each trains its own trials with its share of the cores and GPUs.

When the search is killed without a word, its workers end as well; the next search takes up their trials.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from bevlite.errors import BevliteError
from bevlite.orphans import spawned
from search.config import ResolvedSearch
from search.study.backend import Backend
from search.study.gpus import chosen_gpus, gpus_of
from search.study.study import Study
from search.terminal import Say

REPLACED = 3
"""Times that a worker which was killed is replaced, on average over all of them."""


def run_workers(study: Study, count: int, devices: int, say: Say, gpus: list[str] | None = None) -> None:
    """Run the trials of a study in `count` processes until there are enough; one that is killed is replaced.

    Args:
        study: the study; its backend is sent to the processes.
        count: number of processes.
        devices: GPUs of each; with fewer GPUs than the processes want, they share.
        say: where events go.
        gpus: of all of them, as CUDA names them; by default all that there are.

    Raises:
        BevliteError: workers ended before their time, and the others could not do their work; all is kept.
    """
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA
    gpus = chosen_gpus(None) if gpus is None else gpus
    running: dict[int, SpawnProcess] = {}
    heard: list[Connection] = []
    ended: list[str] = []

    def begin(index: int) -> None:
        hears, tells = context.Pipe(duplex=False)
        work = (study.search, study.folder, study.backend, study.until)
        worker = spawned(context, _work, *work, name=f"worker {index + 1}", pass_on=(tells,))
        with environment(_share(index, count, devices, gpus)), _interrupt_ignored():
            worker.start()
        tells.close()  # the worker's end of it is its own: when it is gone, so is the line
        running[index] = worker
        heard.append(hears)

    try:
        for index in range(count):
            begin(index)
        say(f"{count} workers, each with {_threads(count)} of {_cores()} cores")
        while running:
            wait([*(worker.sentinel for worker in running.values()), *heard])
            _pass_on(heard, say)
            for index, worker in [(i, w) for i, w in running.items() if not w.is_alive()]:
                worker.join()
                del running[index]
                if not worker.exitcode:
                    continue
                ended.append(f"{worker.name} ({_cause(worker)})")
                # What a worker says itself, another one would say as well; one that was killed said nothing.
                if worker.exitcode < 0 and len(ended) <= REPLACED * count and study.unfinished:
                    say(f"{ended[-1]}: another takes its place")
                    begin(index)
    finally:
        for worker in running.values():
            worker.terminate()
        for worker in running.values():
            worker.join()
    _pass_on(heard, say)  # what they said last
    for line in heard:  # loader processes of a worker that was killed may still hold its end
        line.close()
    if ended and study.unfinished:
        raise BevliteError(
            f"{study.folder}: ended before its time: {', '.join(sorted(ended))}; the same command goes on"
        )
    if ended:
        say(f"ended before its time: {', '.join(sorted(ended))}; the other workers did its work")


def _pass_on(heard: list[Connection], say: Say) -> None:
    """Say what workers have said; of one that is gone nothing more will come."""
    for line in heard[:]:
        while line.poll():
            try:
                say(line.recv())
            except (EOFError, OSError):
                line.close()
                heard.remove(line)
                break


def _work(search: ResolvedSearch, folder: Path, backend: Backend, until: float | None, tells: Connection) -> None:
    """The whole of one worker process; each has a line of its own: one that is killed blocks nobody."""
    signal.signal(signal.SIGTERM, interrupt)
    name = multiprocessing.current_process().name
    try:
        Study(search, folder, backend, tells.send, until).run()
    except KeyboardInterrupt:
        sys.exit(130)
    except (BevliteError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        sys.exit(2)


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler: a polite kill is treated as Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def _interrupt_ignored() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: the search alone answers it and tells its workers."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a process that is started meanwhile."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _share(index: int, count: int, devices: int, gpus: list[str]) -> dict[str, str]:
    """Cores and GPUs of one worker, as environment variables; what the user has set for OpenMP stays."""
    share = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(_threads(count))}
    if gpus:
        share["CUDA_VISIBLE_DEVICES"] = ",".join(gpus_of(index, devices, gpus))
    return share


def _threads(count: int) -> int:
    return max(1, _cores() // count)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cause(worker: SpawnProcess) -> str:
    code = worker.exitcode or 0
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
