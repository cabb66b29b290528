"""How the time of a query varies: jitter with a heavy upper tail, warm-up, clocks that are not held, throttling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

JITTER, RUN_TO_RUN = 0.003, 0.0012
TAIL_SHARE, TAIL_SIZE = 0.012, 0.012
WARM_UP_SIZE, WARM_UP_MS = 0.04, 60.0
WANDER = 0.02

Array = npt.NDArray[np.float64]


def query_times_ms(
    base_ms: float, count: int, source: np.random.Generator, locked: bool, ramp_ms: float, ramp_from: float
) -> Array:
    """GPU times of `count` queries in a row from the start of a run.

    Args:
        base_ms: of a query at the full clock.
        locked: whether the clocks are held.
        ramp_ms: how long unheld clocks take to reach the top.
        ramp_from: the share of the top clock at which they start.
    """
    times = np.full(count, base_ms * (1.0 + source.normal(0.0, RUN_TO_RUN)))
    times *= 1.0 + np.abs(source.normal(0.0, JITTER, count)) * np.sign(source.normal(0.15, 1.0, count))
    tail = source.random(count) < TAIL_SHARE
    times[tail] *= 1.0 + source.exponential(TAIL_SIZE, int(tail.sum()))
    if not locked:
        walk = source.normal(0.0, WANDER, count // 8 + 2)
        times *= 1.0 + np.abs(np.interp(np.arange(count) / 8.0, np.arange(walk.size), walk))
    began = np.concatenate([[0.0], np.cumsum(times)[:-1]])
    times *= 1.0 + WARM_UP_SIZE * np.exp(-began / WARM_UP_MS)
    if not locked:
        clock = ramp_from + (1.0 - ramp_from) * np.minimum(1.0, began / ramp_ms)
        times /= clock
    return times


class Pace:
    """How many times longer than its base each query takes that comes one by one: as in `query_times_ms`."""

    def __init__(self, source: np.random.Generator, locked: bool, ramp_ms: float, ramp_from: float) -> None:
        self._source, self._locked = source, locked
        self._ramp_ms, self._ramp_from = ramp_ms, ramp_from
        self._run = 1.0 + source.normal(0.0, RUN_TO_RUN)

    def factor(self, since_ms: float) -> float:
        """For a query that begins `since_ms` after the GPU got to work."""
        source = self._source
        factor = self._run * (1.0 + abs(source.normal(0.0, JITTER)) * np.sign(source.normal(0.15, 1.0)))
        if source.random() < TAIL_SHARE:
            factor *= 1.0 + source.exponential(TAIL_SIZE)
        factor *= 1.0 + WARM_UP_SIZE * np.exp(-since_ms / WARM_UP_MS)
        if not self._locked:
            factor *= 1.0 + abs(source.normal(0.0, WANDER))
            factor /= self._ramp_from + (1.0 - self._ramp_from) * min(1.0, since_ms / self._ramp_ms)
        return float(factor)
