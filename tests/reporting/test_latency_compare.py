from __future__ import annotations

import re

import pytest
from rich.console import Console

from bevlite.devices.report.latency import LatencyReport
from bevlite.reporting.latency_compare import apart, differences, overlap, show_comparison, verdict
from tests.reporting.reports import kernel, report

NAMES = ("a.onnx", "b.onnx")


def printed(first: LatencyReport, second: LatencyReport) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        show_comparison(first, second, NAMES, console)
    return capture.get()


def test_largest_differences_first_whatever_their_sign() -> None:
    rows = differences({"x": 1.0, "y": 5.0, "gone": 2.0}, {"x": 1.5, "y": 1.0, "new": 3.0})
    assert [(r.name, r.difference_ms, r.ratio) for r in rows] == [
        ("y", -4.0, 0.2),
        ("new", 3.0, None),
        ("gone", -2.0, None),
        ("x", 0.5, 1.5),
    ]


@pytest.mark.parametrize(("second_ms", "overlaps"), [(3.0, True), (4.0, True), (4.1, False), (0.2, False), (1.0, True)])
def test_whether_the_order_is_certain_is_said(second_ms: float, overlaps: bool) -> None:
    """Intervals are from half to double: 1 ms reaches up to 2, and 4 ms down to 2."""
    first, second = report({"m": [kernel("k", 1)]}), report({"m": [kernel("k", second_ms)]})
    assert overlap(first, second) == overlap(second, first) == overlaps
    words = " ".join(verdict(first, second, NAMES))
    assert ("not certain" in words or "nothing says" in words) == overlaps
    assert "errors are correlated" in words


def test_what_is_the_same_in_both_does_not_blur_the_order() -> None:
    """10 ms are the same engine in both: 1 ms against 5 ms is left, and their intervals do not overlap."""
    first = report({"camera": [kernel("k", 10)], "heads": [kernel("k", 1)]}, {"decoding": 1.0})
    second = report({"camera": [kernel("k", 10)], "heads": [kernel("k", 5)]}, {"decoding": 1.0})
    assert overlap(first, second)
    assert apart(first, second).same == ("decoding",)  # no identity: the model may err differently in each
    assert "not certain" in verdict(first, second, NAMES)[0]

    def identified(made: LatencyReport) -> LatencyReport:
        camera = made.modules[0].model_copy(update={"identity": "e1f9"})
        return made.model_copy(update={"modules": (camera, *made.modules[1:])})

    first, second = identified(first), identified(second)
    rest = apart(first, second)
    assert rest.same == ("camera", "decoding") and not rest.overlap
    assert rest.first == (0.5, 2.0) and rest.second == (2.5, 10.0)
    assert "camera, decoding are the same in both" in verdict(first, second, NAMES)[0]


def test_the_slower_one_is_named() -> None:
    first, second = report({"m": [kernel("k", 1)]}), report({"m": [kernel("k", 3)]})
    assert verdict(first, second, NAMES)[0].startswith("b.onnx is predicted slower than a.onnx")
    assert verdict(second, first, NAMES)[0].startswith("a.onnx is predicted slower than b.onnx")


def test_engines_alone_against_a_whole_pipeline_is_said() -> None:
    engine, whole = report({"m": [kernel("k", 1)]}), report({"m": [kernel("k", 1)]}, {"decoding": 1.0})
    words = "Only b.onnx counts steps around its engines"
    assert any(line.startswith(words) for line in verdict(engine, whole, NAMES))
    assert not any("Only" in line for made in (engine, whole) for line in verdict(made, made, NAMES))


def test_another_precision_is_said() -> None:
    first = report({"m": [kernel("k", 1)]})
    assert any("precisions differ: fp16 and int8" in line
               for line in verdict(first, first.model_copy(update={"precision": "int8"}), NAMES))  # fmt: skip


def test_totals_differences_and_shared_modules() -> None:
    first = report({"camera": [kernel("k", 2)], "heads": [kernel("k", 1)]}, {"decoding": 1.0})
    second = report({"camera": [kernel("k", 5)], "lidar": [kernel("k", 0.5)]}, {"decoding": 1.0})
    text = printed(first, second)
    assert "difference B - A: +2.50 ms, B / A 1.62" in text
    assert "4.00 ms (2.00 to 8.00 ms)" in text and "6.50 ms (3.25 to 13.00 ms)" in text
    modules = text[text.index("Modules") : text.index("Kinds of kernels")]
    assert re.findall(r"^  (camera|heads|lidar|decoding \(published\)) +(\S+) +(\S+) +(\S+) +(\S+)", modules, re.M) == [
        ("camera", "2.000", "5.000", "+3.000", "2.50"),
        ("heads", "1.000", "-", "-1.000", "-"),
        ("lidar", "-", "0.500", "+0.500", "-"),
        ("decoding (published)", "1.000", "1.000", "+0.000", "1.00"),
    ]


def test_other_modules_are_compared_by_kind_of_kernel() -> None:
    first = report({"resnet": [kernel("k", 2), kernel("a", 1, op="Add")]})
    second = report({"vit": [kernel("k", 1), kernel("m", 4, op="MatMul")]})
    text = printed(first, second)
    assert "Modules" not in text
    found = re.findall(r"^  (matrix product|convolution|elementwise) +\S+ +\S+ +(\S+)", text, re.M)
    assert found == [("matrix product", "+4.000"), ("convolution", "-1.000"), ("elementwise", "-1.000")]


def test_notes_of_one_side_say_which() -> None:
    first = report({"m": [kernel("k", 1)]})
    second = first.model_copy(update={"notes": (*first.notes, "of the second")})
    text = printed(first, second)
    assert "note: interval: by hand" in text and "note on B: of the second" in text
