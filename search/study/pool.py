"""The networks that may fit: scanned before anything is trained, and widened where not all could be."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from bevlite.config import write_atomic
from bevlite.locks import FileLock
from search.config import ResolvedSearch
from search.model.proposal import Pool, Result, first, propose
from search.model.rungs import FEWEST
from search.space.constraints import Limits
from search.space.neighbours import neighbours
from search.space.pareto import front
from search.space.space import Params
from search.study.backend import Backend, Scanned
from search.study.curves import Curve
from search.study.records import TrialRecord
from search.study.sampling import draw, params_key
from search.terminal import Say

FILE = "pool.json"
LARGEST = 10_000
"""Networks that are scanned of a larger space, drawn at random."""
WIDENED = 64
"""Neighbours of each of the best that are looked at when a pool is widened."""
EVERY = 4
"""Trainings to the end between two widenings."""
NEAREST = 3
"""Networks that are named where none may fit."""
AROUND = 5
"""Networks whose neighbours are looked at, where no front is asked for."""
NEARLY_FREE = 0.99
"""Of the training that a network still needs whose whole curve another study knows."""
BAND = 3.92
"""Standard deviations between the two ends of a predicted latency, in logarithms: 95 %."""


@dataclass(frozen=True)
class StudyPool:
    """What may fit, and how many of those scanned cannot.

    rows: networks whose lower end of the latency is within the budget. over, invalid: how many are not, and how many
    combinations are no network. listed: whether that is all of the space. widened: trials that had ended when
    neighbours of the best were last added. nearest: of those that cannot fit the fastest, where none may.
    """

    rows: tuple[Scanned, ...]
    over: int
    invalid: int
    listed: bool = True
    widened: int = 0
    nearest: tuple[Scanned, ...] = ()

    @property
    def params(self) -> list[Params]:
        """What was chosen, network by network."""
        return [row.params for row in self.rows]

    def arrays(self, budget_ms: float) -> Pool:
        """As the model takes it."""
        median, lower, upper = (
            np.array([getattr(row, name) for row in self.rows], dtype=float)
            for name in ("latency_ms", "lower_ms", "upper_ms")
        )
        return Pool([row.params for row in self.rows], median, _fits(median, lower, upper, budget_ms))


def _excess(row: Scanned, limits: Limits) -> float:
    """How far a network is over the limits by what is predicted, relative (of the latency its lower end); 0: within."""
    memory_mb, most_mb = row.memory_mb, limits.max_memory_mb
    over_memory = memory_mb / most_mb - 1 if memory_mb is not None and most_mb is not None else 0.0
    return max(row.lower_ms / limits.most_ms - 1, over_memory)


def _fits(median: Any, lower: Any, upper: Any, budget_ms: float) -> Any:
    """The chance that a latency is within a budget, by its band."""
    return ndtr(np.log(budget_ms / median) / np.maximum(np.log(upper / lower) / BAND, 1e-6))


def nothing_fits(pool: StudyPool, limits: Limits) -> str:
    """What to say where no network may fit: the nearest, and the limits that would let the first of them be tried."""
    if not pool.nearest:
        return f"none of {pool.invalid} combinations is a network; accepted: choices that fit together"
    most = f"{limits.most_ms:g} ms" + (f" and {limits.max_memory_mb:g} MB" if limits.max_memory_mb is not None else "")
    lines = [f"none of the {pool.over} networks that were scanned may fit {most}. The nearest:"]
    for row in pool.nearest:
        chosen = " ".join(f"{name}={value}" for name, value in row.params.items())
        memory = f", {row.memory_mb:.0f} MB" if row.memory_mb is not None and limits.max_memory_mb is not None else ""
        lines.append(f"  predicted {row.latency_ms:.1f} ms [{row.lower_ms:.1f}, {row.upper_ms:.1f}]{memory}  {chosen}")
    least = pool.nearest[0]
    needs = []
    if least.lower_ms > limits.most_ms:
        needs.append(f"with a budget of {least.lower_ms:.1f} ms, and surely does with {least.upper_ms:.1f}")
    if limits.max_memory_mb is not None and (least.memory_mb or 0.0) > limits.max_memory_mb:
        needs.append(f"with a limit of {least.memory_mb:.0f} MB")
    lines.append(
        f"The first may fit {', and '.join(needs)}; or widen the space: fewer channels, smaller images, fewer pillars"
    )
    return "\n".join(lines)


def pool_of(
    search: ResolvedSearch, folder: Path, backend: Backend, say: Say, records: Sequence[TrialRecord] = ()
) -> StudyPool:
    """The pool of a study: scanned when it is first asked for, by one process; the others wait for it.

    A space that could not be listed is known in part. From time to time the neighbours of the best trials so far,
    those that differ in one choice, are scanned as well.
    """
    known = read_pool(folder)
    if known is not None and not _due(search, known, records):
        return known
    with FileLock(folder / ".pool.lock"):
        known = read_pool(folder)
        if known is None:
            made = _scanned(search, backend, say)
        elif _due(search, known, records):
            made = _wider(search, known, backend, say, records)
        else:
            return known
        write_atomic(folder / FILE, json.dumps({**asdict(made), "rows": [asdict(row) for row in made.rows]}) + "\n")
    return made


def _scanned(search: ResolvedSearch, backend: Backend, say: Say) -> StudyPool:
    say(f"scanning the space for what fits {search.config.constraints.most_ms:g} ms")
    scanned, invalid = backend.scan(search, LARGEST)
    pool = what_may_fit(search, scanned, invalid)
    rest = "the others are never tried" if pool.listed else "more of the space is looked at around the best"
    say(f"{len(pool.rows)} of {len(scanned)} networks may fit; {rest}")
    return pool


def what_may_fit(search: ResolvedSearch, scanned: Sequence[Scanned], invalid: int) -> StudyPool:
    """The pool of a scan.

    Args:
        search: whose budget counts.
        scanned: networks with their latencies.
        invalid: combinations that are none.
    """
    limits = search.config.constraints
    rows = tuple(row for row in scanned if _excess(row, limits) <= 0)
    size = search.space.size()
    listed = size is not None and len(scanned) + invalid >= size
    nearest = () if rows else tuple(sorted(scanned, key=lambda row: _excess(row, limits))[:NEAREST])
    return StudyPool(rows, len(scanned) - len(rows), invalid, listed, nearest=nearest)


def _due(search: ResolvedSearch, pool: StudyPool, records: Sequence[TrialRecord]) -> bool:
    ended = sum(record.eligible for record in records)
    return not pool.listed and ended >= max(search.startup_trials, pool.widened + EVERY)


def _wider(
    search: ResolvedSearch, pool: StudyPool, backend: Backend, say: Say, records: Sequence[TrialRecord]
) -> StudyPool:
    """With neighbours of the best."""
    ended = [record for record in records if record.eligible]
    if search.config.goal == "front":
        points = [(record.accuracy or 0.0, record.latency_ms or 0.0) for record in ended]
        best = [ended[index] for index in front(points)]
    else:
        best = sorted(ended, key=lambda record: -(record.accuracy or 0.0))[:AROUND]
    seen = {params_key(params) for params in pool.params}
    new: dict[str, Params] = {}
    for record in best:
        around = neighbours(search.space, record.params, len(ended) * 1_000 + record.number)
        found = [params for params in around if params_key(params) not in seen]
        new |= {params_key(params): params for params in found[:WIDENED]}
    scanned, invalid = backend.scan(search, LARGEST, list(new.values())) if new else ((), 0)
    known = {(row.network, row.latency_ms) for row in pool.rows if row.network}  # in INT8 it is another row
    may_fit = (row for row in scanned if _excess(row, search.config.constraints) <= 0)
    rows = tuple(row for row in may_fit if (row.network, row.latency_ms) not in known)
    say(f"{len(rows)} networks more that may fit, of {len(new)} around the best {len(best)}")
    over = pool.over + len(scanned) - len(rows)
    return StudyPool((*pool.rows, *rows), over, pool.invalid + invalid, False, len(ended))


@dataclass(frozen=True)
class Next:
    """What is worked on next, and why, in words: a paused trial by its number, or a network that is new.

    over: what is to be gained anywhere is less than what a training differs from another of the same network.
    """

    params: Params
    words: str
    trial: int | None = None
    over: str = ""


def next_job(
    search: ResolvedSearch,
    pool: StudyPool,
    records: Sequence[TrialRecord],
    curves: Mapping[str, Curve] | None = None,
    without: Collection[str] = (),
) -> Next | None:
    """The new network or the paused one that is worth most for what it still costs; None where none is left.

    Args:
        search: the search.
        pool: what may fit.
        records: all trials.
        curves: what other studies know, by the hash of a network: learnt from, and nearly free where it is complete.
        without: parameters (`params_key`) of networks that break another limit.
    """
    places = {params_key(row.params): number for number, row in enumerate(pool.rows)}
    known = {places[key]: record for record in records if (key := params_key(record.params)) in places}
    paused = {place: record for place, record in known.items() if record.state == "paused"}
    left_out = {places[key] for key in without if key in places}
    tried = dict.fromkeys([*(place for place in known if place not in paused), *left_out], True)
    if len(tried) >= len(pool.rows):
        return None
    budget_ms = search.config.constraints.most_ms
    results = [result for record in records for result in _results(record, budget_ms)]
    epochs = search.config.fidelity.epochs
    elsewhere = {
        place: curves[row.network]
        for place, row in enumerate(pool.rows)
        if curves and row.network in curves and place not in known
    }
    results += [
        Result(row.params, row.latency_ms, epoch / epochs, search.config.objectives.accuracy_of(score["metrics"]))
        for place, curve in elsewhere.items()
        for epoch, score in curve.items()
        if epoch in search.config.fidelity.rungs and (row := pool.rows[place])
    ]
    complete = {place for place, curve in elsewhere.items() if epochs in curve}
    seed = (search.config.seed * 1_000_003 + len(records) + sum(len(record.rungs) for record in records)) % 2**32
    arrays = pool.arrays(budget_ms)
    started = sum(record.state != "waiting" for record in records)
    if started + len(complete) < search.startup_trials or len(results) < 2:
        if len({*known, *left_out}) >= len(pool.rows):
            place = min(paused)
            return Next(pool.rows[place].params, "the last ones", paused[place].number)
        number = first(arrays, sorted({*known, *left_out}), seed)
        return Next(pool.rows[number].params, "before much is known: far from all in latency")
    running = [place for place, record in known.items() if record.state == "running"]
    begun = {place: record.last_epoch / record.full_epochs for place, record in paused.items()}
    begun |= dict.fromkeys(complete, NEARLY_FREE)
    found = propose(
        search.space, arrays, results, running, tried, budget_ms=budget_ms, goal=search.config.goal, seed=seed,
        begun=begun,
    )  # fmt: skip
    words = f"expected {found.mean:.4f} +- {found.deviation:.4f}, gain {found.gain:.3g}"
    over = (
        f"what is to be gained ({found.share:.2g}) is less than what two trainings of one network differ by "
        f"({found.noise:.2g})"
        if found.share < found.noise and sum(one.trained >= 1 for one in results) >= FEWEST
        else ""
    )
    waiting = paused.get(found.number)
    return Next(pool.rows[found.number].params, words, waiting.number if waiting is not None else None, over)


def drawn_job(
    search: ResolvedSearch, pool: StudyPool, trials: Sequence[FrozenTrial], without: Collection[str] = ()
) -> Next | None:
    """The network that a sampler of Optuna is nearest to proposing; None where none is left."""
    params = draw(search, trials, pool.params, without)
    return Next(params, "") if params is not None else None


def _results(record: TrialRecord, budget_ms: float) -> list[Result]:
    """What is known of a trial, rung by rung; of what runs in INT8 the last is that of the quantized network."""
    if record.latency_ms is None or not record.full_epochs:
        return []
    scores: dict[int, Mapping[str, Any]] = dict(record.rungs)
    if record.quantized is not None:
        scores[record.full_epochs] = record.quantized
    fits = float(_fits(record.latency_ms, record.lower_ms, record.upper_ms, budget_ms))
    return [
        Result(record.params, record.latency_ms, epoch / record.full_epochs, float(score["accuracy"]), fits)
        for epoch, score in sorted(scores.items())
    ]


def read_pool(folder: Path) -> StudyPool | None:
    """The pool of a study, once it was scanned."""
    try:
        held = json.loads((folder / FILE).read_text(encoding="utf-8"))
        rows = tuple(Scanned(**row) for row in held["rows"])
        listed, widened = bool(held.get("listed", True)), int(held.get("widened", 0))
        nearest = tuple(Scanned(**row) for row in held.get("nearest", ()))
        return StudyPool(rows, int(held["over"]), int(held["invalid"]), listed, widened, nearest)
    except (OSError, ValueError, KeyError, TypeError):
        return None
