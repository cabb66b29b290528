"""The networks that may fit: scanned once a study, before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

from bevlite.config import write_atomic
from search.config import ResolvedSearch
from search.model.proposal import Pool, Result, first, propose
from search.space.space import Params
from search.study.backend import Backend, Scanned
from search.study.records import TrialRecord
from search.study.sampling import params_key
from search.terminal import Say

FILE = "pool.json"
LARGEST = 10_000
"""Networks that are scanned of a larger space, drawn at random."""
BAND = 3.92
"""Standard deviations between the two ends of a predicted latency, in logarithms: 95 %."""


@dataclass(frozen=True)
class StudyPool:
    """What may fit, and how many of those scanned cannot.

    rows: networks whose lower end of the latency is within the budget. over, invalid: how many are not, and how many
    combinations are no network.
    """

    rows: tuple[Scanned, ...]
    over: int
    invalid: int

    def arrays(self, budget_ms: float) -> Pool:
        """As the model takes it."""
        median, lower, upper = (
            np.array([getattr(row, name) for row in self.rows], dtype=float)
            for name in ("latency_ms", "lower_ms", "upper_ms")
        )
        return Pool([row.params for row in self.rows], median, _fits(median, lower, upper, budget_ms))


def _fits(median: Any, lower: Any, upper: Any, budget_ms: float) -> Any:
    """The chance that a latency is within a budget, by its band."""
    return ndtr(np.log(budget_ms / median) / np.maximum(np.log(upper / lower) / BAND, 1e-6))


def pool_of(search: ResolvedSearch, folder: Path, backend: Backend, say: Say) -> StudyPool:
    """The pool of a study, scanned when it is first asked for."""
    file = folder / FILE
    if (known := _read(file)) is not None:
        return known
    say(f"scanning the space for what fits {search.config.constraints.budget_ms:g} ms")
    scanned, invalid = backend.scan(search, LARGEST)
    budget_ms = search.config.constraints.budget_ms
    rows = tuple(row for row in scanned if row.lower_ms <= budget_ms)
    made = StudyPool(rows, len(scanned) - len(rows), invalid)
    write_atomic(file, json.dumps({**asdict(made), "rows": [asdict(row) for row in rows]}) + "\n")
    say(f"{len(rows)} of {len(scanned)} networks may fit; the others are never tried")
    return made


def next_params(search: ResolvedSearch, pool: StudyPool, records: Sequence[TrialRecord]) -> tuple[Params, str] | None:
    """What is tried next, and why, in words; None where the whole pool was tried."""
    places = {params_key(row.params): number for number, row in enumerate(pool.rows)}
    tried = {places[key]: True for record in records if (key := params_key(record.params)) in places}
    if len(tried) >= len(pool.rows):
        return None
    budget_ms = search.config.constraints.budget_ms
    results = [result for record in records for result in _results(record, budget_ms)]
    seed = (search.config.seed * 1_000_003 + len(records)) % 2**32
    arrays = pool.arrays(budget_ms)
    started = sum(record.state != "waiting" for record in records)
    if started < search.config.startup_trials or len(results) < 2:
        return pool.rows[first(arrays, sorted(tried), seed)].params, "before much is known: far from all in latency"
    running = [places[key] for r in records if r.state == "running" and (key := params_key(r.params)) in places]
    found = propose(
        search.space, arrays, results, running, tried, budget_ms=budget_ms, goal=search.config.goal, seed=seed
    )
    words = f"expected {found.mean:.4f} +- {found.deviation:.4f}, gain {found.gain:.3g}"
    return pool.rows[found.number].params, words


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


def _read(file: Path) -> StudyPool | None:
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
        rows = tuple(Scanned(**row) for row in held["rows"])
        return StudyPool(rows, int(held["over"]), int(held["invalid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
