from __future__ import annotations

import re

from rich.console import Console

from bevlite.devices.report.latency import LatencyReport
from bevlite.export.check.operators import OperatorFinding
from bevlite.reporting.latency_support import Support, support
from bevlite.reporting.latency_text import show_latency
from tests.reporting.reports import kernel, report

CLEAN = Support(("8.5", "10.3"), ())


def printed(made: LatencyReport, rows: Support = CLEAN, width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        show_latency(made, rows, console)
    return capture.get()


def test_the_ten_costliest_with_share_work_bytes_and_bound() -> None:
    kernels = [
        kernel(f"k{i:02}", 1 + i, "memory", flops=i * 1e9, traffic_bytes=i * 1e6, share=(1 + i) / 78) for i in range(12)
    ]
    text = printed(report({"m": kernels}))
    rows = re.findall(r"(k\d\d) +Conv +([\d.]+) +([\d.]+) % +([\d.]+) +([\d.]+) +(\w+) +(\w+)", text)
    assert [row[0] for row in rows] == [f"k{i:02}" for i in range(11, 1, -1)]
    assert rows[0] == ("k11", "12.000", "15.4", "11", "11", "memory", "fp16")


def test_total_interval_kind_and_predictor_come_first() -> None:
    first = printed(report({"m": [kernel("k", 3)]})).splitlines()[0]
    expected = (
        "3.00 ms (1.50 to 6.00 ms), predicted for board, fp16, MAXN, TensorRT 10.3, CUDA graph on, predictor test"
    )
    assert first == expected


def test_long_names_keep_their_end_and_no_figure_is_cut() -> None:
    long = kernel("/a/very/long/path" * 8 + "/the-end/Conv", 3, flops=1.25e9, traffic_bytes=1.75e6, share=0.75)
    for modules in ({"m": [long]}, {"m": [long], "a-module-with-a-name": [kernel("k", 1)]}):
        lines = printed(report(modules), width=110).splitlines()
        line = next(line for line in lines if "the-end/Conv" in line)
        assert "…" in line and all(f in line for f in ("3.000", "75.0 %", "1.25", "1.75", "compute", "fp16"))
        assert line.count("…") == 1


def test_a_kernel_that_widens_the_interval_is_marked() -> None:
    text = printed(report({"m": [kernel("k", 3, op="Mystery", note="unknown")]}))
    assert "Mystery *" in text and "widens the interval" in text
    assert "*" not in printed(report({"m": [kernel("k", 3)]}))


def test_markup_in_names_is_printed_as_it_stands() -> None:
    text = printed(report({"[bold]m": [kernel("[red]k[/red]", 3, op="[x]")]}))
    assert "[bold]m" in text and "[red]k[/red]" in text and "[x]" in text


def test_what_tensorrt_would_do_is_a_short_table() -> None:
    many = [OperatorFinding("error", "8.5", f"n{i}", f"Op{i}", "no importer", "rewrite") for i in range(20)]
    text = printed(report({"m": [kernel("k", 1)]}), support({"m": many}, ("8.5", "10.3")))
    assert len(re.findall(r"refused +8\.5 +Op\d+ +1 +no importer; rewrite", text)) == 12
    assert "... and 8 more rows" in text and "nothing known speaks against: 10.3" in text
    assert "TensorRT 8.5, 10.3: nothing known speaks against it" in printed(report({"m": [kernel("k", 1)]}))


def test_published_steps_are_not_shown_as_predictions() -> None:
    text = printed(report({"m": [kernel("k", 1)]}, {"decoding": 3.0}))
    assert re.search(r"decoding \(published\) +3\.00 +1\.50 +6\.00 +75\.0 %", text)
    assert "source of decoding: a paper" in text
