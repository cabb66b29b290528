"""The queries of a timed run, and the statistics that trtexec makes of them.

Algorithm: NVIDIA/TensorRT samples/common/sampleReporting.cpp (float32 arithmetic, percentile by index).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
GAP_MS = 0.002
"""Between two queries on the GPU."""


@dataclass(frozen=True)
class Trace:
    """Start and end of every phase of every query after the warm-up, in ms from the start of the run.

    Attributes:
        warm_up_queries: how many came before, over `warm_up_ms`.
        wall_ms: host time from the first to the last query.
    """

    enqueue: Floats
    enqueue_end: Floats
    h2d: Floats
    h2d_end: Floats
    compute: Floats
    compute_end: Floats
    d2h: Floats
    d2h_end: Floats
    h2d_ms: Floats
    compute_ms: Floats
    d2h_ms: Floats
    warm_up_queries: int
    warm_up_ms: float
    wall_ms: float

    @property
    def latency_ms(self) -> Floats:
        """Copies and computing of each query; waiting in the queue is not in it."""
        return (self.h2d_ms + self.compute_ms + self.d2h_ms).astype(np.float32)

    @property
    def enqueue_ms(self) -> Floats:
        """Host time to enqueue each query."""
        return (self.enqueue_end - self.enqueue).astype(np.float32)


@dataclass(frozen=True)
class Summary:
    """Statistics of one kind of time, ms; the variation in percent."""

    minimum: float
    maximum: float
    mean: float
    median: float
    percentiles: tuple[float, ...]
    variation: float


def summarise(values: Floats, percentiles: Sequence[float]) -> Summary:
    """Minimum, maximum, mean, median, percentiles and coefficient of variation."""
    ordered = np.sort(values.astype(np.float32))
    n = len(ordered)
    mean = np.float32(ordered.sum(dtype=np.float32) / np.float32(n))
    middle = n // 2
    median = ordered[middle] if n % 2 else (ordered[middle - 1] + ordered[middle]) / np.float32(2)
    at = [max(n - 1 - int((1 - p / 100) * n), 0) for p in percentiles]
    spread = np.sqrt(np.mean((ordered - mean) ** 2, dtype=np.float32))
    variation = float(spread / mean * 100) if mean > 0 else 0.0
    return Summary(
        float(ordered[0]), float(ordered[-1]), float(mean), float(median),
        tuple(float(ordered[i]) for i in at), variation,
    )  # fmt: skip


def lay_out(
    compute: npt.NDArray[np.float64], h2d_ms: float, d2h_ms: float, enqueue_ms: float, warm_up: int, expose_dma: bool
) -> Trace:
    """Place queries on the time line: two are in flight, so that one is enqueued while the other runs."""
    serial = compute + h2d_ms + d2h_ms + enqueue_ms
    period = serial if expose_dma else np.maximum(compute, enqueue_ms) + GAP_MS
    began = np.concatenate([[0.0], np.cumsum(period)[:-1]])
    enqueue = began if expose_dma else np.concatenate([began[:1], began[:-1]])
    h2d = enqueue + enqueue_ms * 0.3
    start = np.maximum(h2d + h2d_ms, began + h2d_ms)
    end = start + compute
    zero = enqueue[warm_up]

    def cut(values: npt.NDArray[np.float64]) -> Floats:
        return np.asarray(values[warm_up:] - zero, dtype=np.float32)

    count = len(compute) - warm_up
    return Trace(
        enqueue=cut(enqueue), enqueue_end=cut(enqueue + enqueue_ms),
        h2d=cut(h2d), h2d_end=cut(h2d + h2d_ms),
        compute=cut(start), compute_end=cut(end),
        d2h=cut(end), d2h_end=cut(end + d2h_ms),
        h2d_ms=np.full(count, h2d_ms, np.float32),
        compute_ms=compute[warm_up:].astype(np.float32),
        d2h_ms=np.full(count, d2h_ms, np.float32),
        warm_up_queries=warm_up,
        warm_up_ms=float(began[warm_up]),
        wall_ms=float(end[-1] + d2h_ms - began[warm_up]),
    )  # fmt: skip
