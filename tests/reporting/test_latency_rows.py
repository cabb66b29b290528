from __future__ import annotations

from bevlite.reporting.latency_rows import (
    flagged,
    gflops,
    megabytes,
    ranked,
    sum_of,
    summary_lines,
    sums_by_kind,
    tail,
)
from tests.reporting.reports import kernel, report


def test_kernels_of_all_modules_are_ranked_together() -> None:
    made = report({"a": [kernel("a1", 1), kernel("a2", 4)], "b": [kernel("b1", 3)]})
    assert [(p.rank, p.module, p.kernel.name) for p in ranked(made)] == [(1, "a", "a2"), (2, "b", "b1"), (3, "a", "a1")]


def test_sums_keep_every_millisecond_once() -> None:
    kernels = [kernel("1", 1, "compute"), kernel("2", 2, "memory"), kernel("3", 4, "launch", op="Add")]
    sums = sums_by_kind(kernels)
    assert [(s.name, s.count, s.latency_ms) for s in sums] == [("elementwise", 1, 4), ("convolution", 2, 3)]
    assert sum_of("all", kernels).ms_by_bound == {"compute": 1, "memory": 2, "launch": 4}


def test_summary_shares_are_of_the_total() -> None:
    """3, 1 and 4 of 8 ms; one launch is what the device's ceilings say."""
    kernels = [kernel("1", 3, "memory", launch_ms=0.5), kernel("2", 1, "compute", op="MatMul", launch_ms=0.25)]
    kinds, bounds = summary_lines(report({"m": kernels}, {"decoding": 4.0}))
    assert kinds.endswith("convolution 37.5 %, matrix product 12.5 %; steps around the engines 50.0 %")
    assert "compute 12.5 %, memory 37.5 %, launch 0.0 %; 2 kernels started in 0.750 ms (4 us a launch)" in bounds


def test_no_summary_of_some_of_the_kernels() -> None:
    made = report({"m": [kernel("1", 3)]})
    some = made.model_copy(update={"modules": (made.modules[0].model_copy(update={"kernel_count": 2}),)})
    assert summary_lines(made) and summary_lines(some) == []


def test_figures_as_text() -> None:
    assert (gflops(0), gflops(2.5e9), megabytes(1_234_567), megabytes(1.78e9)) == ("-", "2.5", "1.23", "1,780")
    assert (tail("abcdef", 6), tail("abcdefg", 6)) == ("abcdefg"[:6], "…cdefg")
    assert (flagged(kernel("k", 1)), flagged(kernel("k", 1, note="unsure"))) == ("Conv", "Conv *")
