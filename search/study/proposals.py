"""What is worked on next: the network or the paused trial that is worth most, or what a sampler of Optuna proposes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from search.config import ResolvedSearch
from search.model.encoding import Encoding
from search.model.proposal import Pool, Result, first, propose
from search.model.rungs import FEWEST
from search.model.surrogate import Surrogate
from search.space.space import Params
from search.study.curves import Curve
from search.study.pool import StudyPool
from search.study.records import TrialRecord
from search.study.sampling import draw, params_key

NEARLY_FREE = 0.99
"""Of the training that a network still needs whose whole curve another study knows."""
BAND = 3.92
"""Standard deviations between the two ends of a predicted latency, in logarithms: 95 %."""


def arrays_of(pool: StudyPool, budget_ms: float) -> Pool:
    """A pool as the model takes it."""
    median, lower, upper = (
        np.array([getattr(row, name) for row in pool.rows], dtype=float)
        for name in ("latency_ms", "lower_ms", "upper_ms")
    )
    return Pool(pool.params, median, _fits(median, lower, upper, budget_ms))


def _fits(median: Any, lower: Any, upper: Any, budget_ms: float) -> Any:
    """The chance that a latency is within a budget, by its band."""
    return ndtr(np.log(budget_ms / median) / np.maximum(np.log(upper / lower) / BAND, 1e-6))


@dataclass(frozen=True)
class Next:
    """What is worked on next, and why, in words: a paused trial by its number, or a network that is new.

    over: what is to be gained anywhere is less than what a training differs from another of the same network.
    gain: what the model expects it to add; None where it does not know enough yet, or is not asked.
    noted: what a sampler of Optuna noted of its proposal.
    """

    params: Params
    words: str
    trial: int | None = None
    over: str = ""
    gain: float | None = None
    noted: Mapping[str, Any] = field(default_factory=dict)


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
    arrays = arrays_of(pool, budget_ms)
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
    return Next(
        pool.rows[found.number].params, words, waiting.number if waiting is not None else None, over, found.gain
    )


def chances_to_win(search: ResolvedSearch, records: Sequence[TrialRecord]) -> dict[int, float]:
    """How likely each trial with a result is, or would become, better than the best (of a front: than what is as fast).

    What the model believes of networks counts, not single trainings. A trial is compared with those that keep all
    limits and floors, and the budget as surely as it does: no other stands in its way. Empty before two have ended.
    """
    budget_ms = search.config.constraints.most_ms
    known = [record for record in records if record.rungs and record.latency_ms is not None]
    results = sorted((r for record in known for r in _results(record, budget_ms)), key=lambda one: one.trained)
    ended = [record for record in known if record.eligible]
    if len(ended) < 2:
        return {}
    encoding, model = Encoding(search.space), Surrogate(search.config.seed)
    model.fit(
        encoding.rows([one.params for one in results], [one.latency_ms for one in results]),
        np.array([one.trained for one in results]),
        np.array([one.accuracy for one in results]),
    )
    mean, deviation = model.predict(
        encoding.rows([record.params for record in known], [record.latency_ms or 0.0 for record in known])
    )
    believed = {record.number: float(value) for record, value in zip(known, mean, strict=True)}
    found = {}
    for record, middle, spread in zip(known, mean, deviation, strict=True):
        others = [
            believed[one.number]
            for one in ended
            if one.number != record.number
            and _sure(one, budget_ms) >= _sure(record, budget_ms)
            and (search.config.goal == "best" or (one.latency_ms or 0.0) <= (record.latency_ms or 0.0))
        ]
        found[record.number] = float(ndtr((middle - max(others)) / max(spread, 1e-9))) if others else 1.0
    return found


def _sure(record: TrialRecord, budget_ms: float) -> int:
    """How surely it keeps the budget, as the choice of the winner has it: by its upper end, its median, or neither."""
    return sum((end or np.inf) <= budget_ms for end in (record.latency_ms, record.upper_ms))


def drawn_job(
    search: ResolvedSearch, pool: StudyPool, trials: Sequence[FrozenTrial], without: Collection[str] = ()
) -> Next | None:
    """The network that a sampler of Optuna is nearest to proposing; None where none is left."""
    found = draw(search, trials, pool.params, without)
    return Next(found.params, "", noted=found.noted) if found is not None else None


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
