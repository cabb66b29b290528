"""Emulated time, against schedules that are drawn by hand."""

from __future__ import annotations

import pytest

from bevlite.simulation.jetson.runtime.timeline import Timeline


def test_a_stream_is_in_order_and_units_work_side_by_side() -> None:
    time = Timeline()
    time.put(1, "copy", 2.0, 0.0)
    time.put(1, "GPU", 5.0, 0.0)
    time.put(2, "copy", 2.0, 0.0)  # after the first copy, beside the first work
    time.put(2, "GPU", 5.0, 0.0)  # after both
    assert (time.mark(1), time.mark(2), time.now) == (7.0, 12.0, 0.0)
    time.wait(1)
    assert time.now == 7.0
    time.wait(1)
    assert time.now == 7.0


def test_free_time_between_is_used() -> None:
    """The GPU is free while stream 1 is on the DLA: stream 2 fits in, and what does not comes after."""
    time = Timeline()
    for unit, ms in (("GPU", 1.0), ("DLA", 4.0), ("GPU", 1.0)):
        time.put(1, unit, ms, 0.0)
    time.put(2, "GPU", 3.0, 0.0)
    assert time.mark(2) == 4.0
    time.put(3, "GPU", 2.0, 0.0)  # one of them in the gap until 5, the other after 6
    assert time.mark(3) == 7.0 and time.mark(1) == 6.0


def test_work_ends_no_sooner_than_it_was_handed_over() -> None:
    time = Timeline()
    time.put(1, "GPU", 0.5, 2.0)
    assert time.mark(1) == 2.0 == time.now
    time.put(1, "GPU", 3.0, 2.0)
    assert time.mark(1) == 5.0 and time.now == 4.0


def test_what_passes_is_told() -> None:
    passed: list[float] = []
    time = Timeline(passed.append)
    time.host(1.5)
    time.put(1, "GPU", 4.0, 0.5)
    time.wait(1)
    assert sum(passed) == pytest.approx(time.now) == pytest.approx(5.5)
