"""The figures of the measurement protocol (docs/measuring.md). Host and board share them."""

from __future__ import annotations

from dataclasses import dataclass

MOST_DOUBLED = 8
"""How many times over `most_queries` a run may go for a narrower interval."""


@dataclass(frozen=True)
class Protocol:
    """How a module is measured. Times in s unless named otherwise.

    A run takes `duration_s`, or less where that would be more than `most_queries`: a module of 10 us would fill a
    board's disk with times. `half_width` is what half the 95 % interval of the median may be of the median; a run is
    repeated longer until it is reached or `longest_s` is. `repetitions` runs must agree within `agreement`. A run
    that throttled or whose clock changed is void, and repeated `void_retries` times after `cool_s`.
    """

    warmup_ms: int = 500
    duration_s: float = 10.0
    longest_s: float = 60.0
    queries: int = 200
    most_queries: int = 5000
    half_width: float = 0.01
    repetitions: int = 3
    agreement: float = 0.02
    idle_s: float = 2.0
    void_retries: int = 2
    cool_s: float = 20.0
    hottest_start_c: float = 85.0
    hottest_c: float = 95.0
    clock_tolerance: float = 0.02
    drift_limit: float = 0.05
    require_locked_clocks: bool = True
    require_idle_gpu: bool = True
    build_limit_s: float = 3600.0
    run_limit_s: float = 300.0
