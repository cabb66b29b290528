"""Scan: the predicted latency of thousands of variants of a space, checked against a budget; nothing is trained."""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bevlite.devices.report.latency import LatencyReport, ModuleRow
from bevlite.errors import BevliteError, ConfigError
from bevlite.latency.pipeline import PipelineStep
from bevlite.tensorrt import Precision
from bevlite.variant import Variant
from search.config import ResolvedSearch
from search.latency.predicted import LatencySource
from search.space.space import Params, Space

if TYPE_CHECKING:  # imports torch
    from bevlite.export.graph.graphs import ModuleGraph

Verdict = Literal["within", "possible", "over"]
VERDICTS: dict[Verdict, str] = {
    "within": "surely: even the upper end of the latency is within the budget",
    "possible": "possibly: only the lower end is within the budget",
    "over": "not: even the lower end is over the budget",
}
LISTED = 200_000
"""A space of no more combinations is listed and shuffled; a larger one is drawn from."""
MISSES = 1_000
"""Draws in a row that find nothing new before a space counts as exhausted."""
POOL_FROM = 12
"""Modules to predict before other processes, which take seconds to start, are worth it."""


@dataclass(frozen=True)
class ScanRow:
    """One variant: what was chosen, and its predicted latency in ms with the ends of its interval."""

    params: Params
    latency_ms: float
    lower_ms: float
    upper_ms: float
    gflops: float
    modules: Mapping[str, float]

    def verdict(self, budget_ms: float) -> Verdict:
        """Whether it keeps a budget in ms."""
        if self.upper_ms <= budget_ms:
            return "within"
        return "possible" if self.lower_ms <= budget_ms else "over"


@dataclass(frozen=True)
class Refused:
    """A combination without a latency, and why."""

    params: Params
    reason: str


@dataclass(frozen=True)
class ScanResult:
    """All variants that were scanned. `distinct_modules` of them were predicted, the rest is shared."""

    rows: tuple[ScanRow, ...]
    invalid: tuple[Refused, ...]
    failed: tuple[Refused, ...]
    same_network: int
    distinct_modules: int
    seconds: float

    def count(self, verdict: Verdict, budget_ms: float) -> int:
        """How many variants have this verdict for a budget in ms."""
        return sum(row.verdict(budget_ms) == verdict for row in self.rows)

    @property
    def fastest(self) -> ScanRow | None:
        """The variant of the lowest latency."""
        return min(self.rows, key=lambda row: row.latency_ms, default=None)

    def largest_within(self, budget_ms: float) -> ScanRow | None:
        """The variant of most GFLOPs among those that surely keep a budget in ms."""
        fitting = [row for row in self.rows if row.verdict(budget_ms) == "within"]
        return max(fitting, key=lambda row: (row.gflops, -row.latency_ms), default=None)

    def quantiles(self, shares: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)) -> list[tuple[float, float]]:
        """(share, latency in ms) pairs: the nearest of the latencies, none of them between two."""
        ordered = sorted(row.latency_ms for row in self.rows)
        return [(share, ordered[round(share * (len(ordered) - 1))]) for share in shares] if ordered else []


@dataclass(frozen=True)
class _Work:
    """A variant whose modules are being predicted."""

    params: Params
    variant: Variant
    keys: tuple[str, ...]


def scan(
    search: ResolvedSearch, count: int, seed: int = 0, processes: int = 1, cache: Path | None = None
) -> ScanResult:
    """Predict `count` distinct variants of a space (all of them when there are fewer).

    Args:
        search: the search; its device says for what board and under which conditions.
        count: how many variants; combinations that are invalid, or give a network seen already, come on top.
        seed: of the draw.
        processes: how many predict at once.
        cache: a folder that keeps graphs and module latencies for the next scan; None for memory alone.
    """
    began = time.monotonic()
    source = LatencySource(search.device, search.config.device, cache)
    invalid: list[Refused] = []
    seen: set[str] = set()
    work: list[_Work] = []
    same = 0
    with _Modules(source, processes) as modules:
        for params in draw(search.space, seed):
            try:
                variant = search.space.build(search.base, params, "scan")
            except ConfigError as error:
                invalid.append(Refused(params, str(error)))
                continue
            identity = variant.model_dump_json()
            if identity in seen:
                same += 1
                continue
            seen.add(identity)
            work.append(_Work(params, variant, modules.request(variant)))
            if len(work) == count:
                break
        reports, reasons = modules.collect()
    rows: list[ScanRow] = []
    failed: list[Refused] = []
    for one in work:
        reason = next((reasons[key] for key in one.keys if key in reasons), None)
        if reason is not None:
            failed.append(Refused(one.params, reason))
        else:
            rows.append(_row(one, [reports[key] for key in one.keys]))
    distinct = len(reports) + len(reasons)
    return ScanResult(tuple(rows), tuple(invalid), tuple(failed), same, distinct, time.monotonic() - began)


def _row(work: _Work, reports: Iterable[LatencyReport]) -> ScanRow:
    from bevlite.export.of_variant import steps_of  # imports torch

    modules = [module for report in reports for module in report.modules]
    # In the order in which a whole report sums.
    parts: list[ModuleRow | PipelineStep] = [*modules, *steps_of(work.variant)]
    return ScanRow(
        params=work.params,
        latency_ms=sum(part.latency_ms for part in parts),
        lower_ms=sum(part.lower_ms for part in parts),
        upper_ms=sum(part.upper_ms for part in parts),
        gflops=sum(module.gflops for module in modules),
        modules={module.name: module.latency_ms for module in modules},
    )


class _Modules:
    """The latency of modules, each predicted once, in other processes when there are many."""

    def __init__(self, source: LatencySource, processes: int) -> None:
        self._source, self._processes = source, processes
        self._requested: set[str] = set()
        self._waiting: list[tuple[str, ModuleGraph, Precision]] = []
        self._running: dict[str, Future[LatencyReport | str]] = {}
        self._done: dict[str, LatencyReport] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Modules:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def request(self, variant: Variant) -> tuple[str, ...]:
        """Keys of the modules of a variant; those that nobody has asked for are begun."""
        from bevlite.export.graph.graphs import module_graphs  # imports torch

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

    def collect(self) -> tuple[dict[str, LatencyReport], dict[str, str]]:
        """Reports by key, and the reasons of the modules that have none."""
        found: dict[str, LatencyReport | str] = dict(self._done)
        for key, module, precision in self._waiting:
            found[key] = _predict(self._source, module, precision)
        for key, future in self._running.items():
            found[key] = future.result()
        reports = {key: report for key, report in found.items() if not isinstance(report, str)}
        return reports, {key: reason for key, reason in found.items() if isinstance(reason, str)}


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_SOURCES: list[LatencySource] = []
"""In a process of the pool: its own source, with the graphs that it has made."""


def _start(source: LatencySource) -> None:
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


def draw(space: Space, seed: int) -> Iterator[Params]:
    """Distinct parameter sets of a space in random order: each of them once, or without end where it is too large."""
    rng = random.Random(seed)
    size = space.size(LISTED)
    if size is not None:
        every = list(space.combinations() or ())
        rng.shuffle(every)
        yield from every
        return
    seen: set[str] = set()
    misses = 0
    while misses < MISSES:
        params = space.sample(_Dice(rng))
        key = json.dumps(params, sort_keys=True)
        misses = misses + 1 if key in seen else 0
        if misses == 0:
            seen.add(key)
            yield params


class _Dice:
    """A trial that chooses at random."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._rng.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        if log:
            return min(high, max(low, round(math.exp(self._rng.uniform(math.log(low), math.log(high))))))
        return self._rng.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if log:
            return math.exp(self._rng.uniform(math.log(low), math.log(high)))
        if step is not None:
            return low + step * self._rng.randrange(math.floor((high - low) / step + 1e-9) + 1)
        return self._rng.uniform(low, high)
