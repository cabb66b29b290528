"""Predicted latencies of many modules, each predicted once, in other processes when there are many."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TYPE_CHECKING

from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.orphans import end_with_parent
from bevlite.tensorrt import Precision
from search.latency.predicted import LatencySource

if TYPE_CHECKING:  # imports torch
    from bevlite.export.graph.graphs import ModuleGraph
    from bevlite.variant import Variant

POOL_FROM = 12
"""Modules to predict before other processes, which take seconds to start, are worth it."""


class ModulePredictions:
    """The latency of modules, each predicted once, in other processes when there are many."""

    def __init__(self, source: LatencySource, processes: int) -> None:
        self._source, self._processes = source, processes
        self._requested: set[str] = set()
        self._waiting: list[tuple[str, ModuleGraph, Precision]] = []
        self._running: dict[str, Future[LatencyReport | str]] = {}
        self._done: dict[str, LatencyReport] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ModulePredictions:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def requested(self) -> int:
        """Distinct modules that were asked for."""
        return len(self._requested)

    def request(self, variant: Variant) -> tuple[str, ...]:
        """Keys of the modules of a variant; those that nobody has asked for are begun."""
        from bevlite.export.graph.graphs import module_graphs  # imports torch

        variant = self._source.planned(variant)
        precision = self._source.precision(variant)
        keys = []
        for module in module_graphs(variant):
            key = self._source.module_key(module, precision)
            keys.append(key)
            if key not in self._requested:
                self._requested.add(key)
                self._begin(key, module, precision)
        return tuple(keys)

    def _begin(self, key: str, module: ModuleGraph, precision: Precision) -> None:
        known = self._source.known_module(key)
        if known is not None:
            self._done[key] = known
            return
        self._waiting.append((key, module, precision))
        if self._processes > 1 and (self._pool is not None or len(self._waiting) >= POOL_FROM):
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self._processes, context, _start, (self._source.fresh(),))
            for waiting, graph, wanted in self._waiting:
                self._running[waiting] = self._pool.submit(_predict_there, graph, wanted)
            self._waiting.clear()

    def collect(
        self, advance: Callable[[int, int], None] = lambda *_: None
    ) -> tuple[dict[str, LatencyReport], dict[str, str]]:
        """Reports by key, and the reasons of the modules that have none; `advance` hears how many are done, of all."""
        found: dict[str, LatencyReport | str] = dict(self._done)
        of = len(found) + len(self._waiting) + len(self._running)
        for key, module, precision in self._waiting:
            found[key] = _predict(self._source, module, precision)
            advance(len(found), of)
        for key, future in self._running.items():
            found[key] = future.result()
            advance(len(found), of)
        reports = {key: report for key, report in found.items() if not isinstance(report, str)}
        return reports, {key: reason for key, reason in found.items() if isinstance(reason, str)}


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_SOURCES: list[LatencySource] = []
"""In a process of the pool: its own source, with the graphs that it has made."""


def _start(source: LatencySource) -> None:
    end_with_parent()
    import timm  # noqa: F401  # what the first network would wait for
    import torch

    import bevlite.export.graph.graphs  # noqa: F401

    torch.set_num_threads(1)
    # Tracing makes many small objects that live: looking for garbage among them all the time takes a quarter of it.
    gc.set_threshold(100_000, 50, 50)
    _SOURCES.append(source)


def _predict_there(module: ModuleGraph, precision: Precision) -> LatencyReport | str:
    return _predict(_SOURCES[0], module, precision)


def _predict(source: LatencySource, module: ModuleGraph, precision: Precision) -> LatencyReport | str:
    try:
        return source.module(module, precision)
    except BevliteError as error:
        return f"{module.name}: {error}"
