"""Processes that compile modules side by side; a file lock is held for all that runs on the GPU, so that no two modules
are timed at once.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpu_ceilings import gpu_ceilings, gpu_environment, sm_clock_mhz
from gpu_lock import GPULock
from inductor_modules import measure_inductor
from measured_rows import Results, one_line

if TYPE_CHECKING:
    # Loading torch takes seconds: at run time the parent process starts the workers before it does so itself.
    from modules import ModuleSpec


SPEC_LIMIT_S = 300.0
HEAVY_SHARE = 0.5  # of the workers, as long as there are light modules to compile


def _ceilings_process(pipe: Connection, lock_path: str, device: str) -> None:
    lock = GPULock(lock_path)
    lock.acquire()
    pipe.send({})  # the lock is held: workers may start
    try:
        pipe.send({"environment": gpu_environment(), "ceilings": gpu_ceilings()} if device == "cuda" else {})
    except Exception as error:
        pipe.send({"ceilings_error": one_line(error)})
    lock.release()


def _work(pipe: Connection, lock_path: str, device: str) -> None:
    """A worker: an id in, a row out, until told to end."""
    import module_list
    import torch
    import torch._inductor.compile_fx  # before the first module, not in its compile time

    torch.set_num_threads(1)
    lock = GPULock(lock_path)
    by_id = {spec.id: spec for spec in module_list.specs()}
    lock.acquire()  # until the ceilings are measured
    lock.release()
    if device == "cuda":
        _warm_libraries()
    while (key := pipe.recv()) is not None:
        try:
            row = measure_inductor(by_id[key], lock, device)
        except Exception as error:
            traceback.print_exc()
            row = {"id": key, "family": by_id[key].family, "error": one_line(error)}
        pipe.send(row)


def _warm_libraries() -> None:
    """Make the context and the handles of the libraries before the first module."""
    import torch

    x = torch.randn(1, 16, 8, 8, device="cuda", dtype=torch.float16).to(memory_format=torch.channels_last)
    weight = torch.randn(16, 16, 3, 3, device="cuda", dtype=torch.float16).to(memory_format=torch.channels_last)
    torch.nn.functional.conv2d(x, weight)
    matrix = torch.randn(64, 64, device="cuda", dtype=torch.float16)
    torch.mm(matrix, matrix)
    torch.cuda.synchronize()
    sm_clock_mhz()


class Worker:
    """One worker process and what it is at."""

    def __init__(self, lock_path: str, device: str) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process could not use CUDA safely
        self.pipe, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, lock_path, device), daemon=True)
        self.process.start()
        child.close()
        self.spec: ModuleSpec | None = None
        self.since = 0.0

    def give(self, spec: ModuleSpec) -> None:
        """Start on a module."""
        self.spec, self.since = spec, time.monotonic()
        self.pipe.send(spec.id)

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Queue:
    """Modules yet to do: long compilations take a share of the workers, the rest goes to short ones."""

    def __init__(self, specs: Iterable[ModuleSpec], workers: int) -> None:
        self.heavy: list[ModuleSpec] = []
        self.light: list[ModuleSpec] = []
        for spec in specs:
            (self.heavy if spec.heavy else self.light).append(spec)
        self.limit = max(1, int(workers * HEAVY_SHARE))

    def next(self, at_work: int) -> ModuleSpec | None:
        """The next module, when `at_work` heavy ones are being compiled."""
        if self.heavy and (at_work < self.limit or not self.light):
            return self.heavy.pop(0)
        return self.light.pop(0) if self.light else None


def run_inductor(
    results: Results,
    specs: Sequence[ModuleSpec],
    conditions: dict[str, Any],
    workers_count: int,
    deadline_s: float,
    device: str,
) -> None:
    """Ceilings first, then all modules by worker processes, until done or out of time."""
    started = time.monotonic()
    folder = tempfile.mkdtemp(prefix="measure-")
    lock_path = str(Path(folder) / "gpu.lock")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(Path(folder) / "triton")
    os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = os.environ["TORCHINDUCTOR_AUTOGRAD_CACHE"] = "0"  # nothing comes twice
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    ceilings, child = context.Pipe()
    first = context.Process(target=_ceilings_process, args=(child, lock_path, device), daemon=True)
    first.start()
    child.close()
    ceilings.recv()
    workers = [Worker(lock_path, device) for _ in range(workers_count)]
    queue = Queue(specs, workers_count)
    results.conditions["runs"].append(conditions)
    count, waiting = 0, True  # waiting for the ceilings

    def lost(worker: Worker, error: str) -> None:
        assert worker.spec is not None
        results.add({"id": worker.spec.id, "family": worker.spec.family, "error": error})
        print(worker.spec.id, error, flush=True)
        worker.end()
        workers[workers.index(worker)] = Worker(lock_path, device)

    try:
        while time.monotonic() - started < deadline_s:
            for worker in workers:
                if worker.spec is None:
                    spec = queue.next(sum(w.spec is not None and w.spec.heavy for w in workers))
                    if spec is not None:
                        worker.give(spec)
            pipes: dict[Any, Worker] = {w.pipe: w for w in workers if w.spec is not None}
            if not pipes and not waiting:
                break
            for pipe in wait([*pipes, *([ceilings] if waiting else [])], 1.0):
                if pipe is ceilings:
                    try:
                        conditions |= ceilings.recv()
                        results.write_conditions()
                    except EOFError:
                        waiting = False
                    continue
                worker = pipes[pipe]
                try:
                    row = worker.pipe.recv()
                except (EOFError, OSError):
                    lost(worker, "its process died")
                    continue
                results.add(row)
                count += "error" not in row
                elapsed = time.monotonic() - started
                print(f"{elapsed:6.1f} s  {count:4d}  {row['id']}  {row.get('ms', row.get('error'))}", flush=True)
                worker.spec = None
            for worker in list(workers):
                if worker.spec is not None and time.monotonic() - worker.since > SPEC_LIMIT_S:
                    lost(worker, f"took more than {SPEC_LIMIT_S:.0f} s")
    finally:
        left = len(queue.heavy) + len(queue.light) + sum(w.spec is not None for w in workers)
        for worker in workers:
            worker.end()
        first.kill()
        conditions |= {"measured": count, "left": left, "elapsed_s": round(time.monotonic() - started, 1)}
        results.write_conditions()
        print(f"{count} measured, {left} left, {conditions['elapsed_s']} s")
