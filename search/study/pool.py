"""The networks that may fit: scanned before anything is trained, and widened where not all could be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bevlite.config import write_atomic
from bevlite.locks import FileLock
from search.config import ResolvedSearch
from search.space.constraints import Limits
from search.space.neighbours import neighbours
from search.space.pareto import front
from search.space.space import Params
from search.study.backend import Backend, Scanned
from search.study.records import TrialRecord
from search.study.sampling import params_key
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


@dataclass(frozen=True)
class StudyPool:
    """What may fit, and how many of those scanned cannot.

    rows: networks whose lower end of the latency is within the budget. over, invalid: how many are not, and how many
    combinations are no network. listed: whether that is all of the space. widened: trials that had ended when
    neighbours of the best were last added. nearest: of those that cannot fit the fastest, where none may.
    outside: neighbours (`params_key`) that were looked at and cannot fit, so that none is looked at twice.
    """

    rows: tuple[Scanned, ...]
    over: int
    invalid: int
    listed: bool = True
    widened: int = 0
    nearest: tuple[Scanned, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def params(self) -> list[Params]:
        """What was chosen, network by network."""
        return [row.params for row in self.rows]


def _excess(row: Scanned, limits: Limits) -> float:
    """How far a network is over the limits by what is predicted, relative (of the latency its lower end); 0: within."""
    memory_mb, most_mb = row.memory_mb, limits.max_memory_mb
    over_memory = memory_mb / most_mb - 1 if memory_mb is not None and most_mb is not None else 0.0
    return max(row.lower_ms / limits.most_ms - 1, over_memory)


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
        write_atomic(folder / FILE, _text(made))
    return made


def widened(
    search: ResolvedSearch, folder: Path, backend: Backend, say: Say, records: Sequence[TrialRecord]
) -> StudyPool | None:
    """The pool with neighbours of the best so far, where all of it was tried; None where there is no more.

    Nothing comes of it before a trial has ended, or when none has since the last time.
    """
    with FileLock(folder / ".pool.lock"):
        known = read_pool(folder)
        ended = sum(record.eligible for record in records)
        if known is None or known.listed or ended <= known.widened:
            return None
        made = _wider(search, known, backend, say, records)
        write_atomic(folder / FILE, _text(made))
    return made if len(made.rows) > len(known.rows) else None


def _text(pool: StudyPool) -> str:
    return json.dumps({**asdict(pool), "rows": [asdict(row) for row in pool.rows]}) + "\n"


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
    seen = {params_key(params) for params in pool.params} | set(pool.outside)
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
    fits = {params_key(row.params) for row in rows}
    outside = (*pool.outside, *(key for key in new if key not in fits))
    over = pool.over + len(scanned) - len(rows)
    return StudyPool((*pool.rows, *rows), over, pool.invalid + invalid, False, len(ended), outside=outside)


def read_pool(folder: Path) -> StudyPool | None:
    """The pool of a study, once it was scanned."""
    try:
        held = json.loads((folder / FILE).read_text(encoding="utf-8"))
        rows = tuple(Scanned(**row) for row in held["rows"])
        over, invalid = int(held["over"]), int(held["invalid"])
        listed = held.get("listed", len(rows) + over + invalid < LARGEST)  # one of before does not say so
        nearest = tuple(Scanned(**row) for row in held.get("nearest", ()))
        outside = tuple(map(str, held.get("outside", ())))
        return StudyPool(rows, over, invalid, bool(listed), int(held.get("widened", 0)), nearest, outside)
    except (OSError, ValueError, KeyError, TypeError):
        return None
