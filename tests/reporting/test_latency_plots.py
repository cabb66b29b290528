from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bevlite.devices.report.latency import Kernel
from bevlite.reporting.latency_plots import HEIGHT, WIDTH, bandwidth, roofline
from bevlite.reporting.latency_rows import ranked
from tests.reporting.reports import CEILINGS, kernel, report


def product(name: str, intensity: float, tflops: float, bound: str = "compute") -> Kernel:
    """A kernel of 1 ms at this place of the roofline."""
    flops = tflops * 1e9
    return kernel(name, 1.0, bound, flops=flops, traffic_bytes=flops / intensity, share=0.1)


def drawn(svg: str | None) -> ElementTree.Element:
    assert svg is not None
    return ElementTree.fromstring(svg)


def circles(svg: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """Centres by the name of the kernel, which the tooltip begins with."""
    return {
        (c.findtext("title") or "").split(" ")[0]: (float(c.get("cx", 0)), float(c.get("cy", 0)))
        for c in svg.findall("circle")
    }


def roofs(svg: ElementTree.Element) -> list[tuple[float, ...]]:
    return [
        tuple(float(line.get(key, 0)) for key in ("x1", "y1", "x2", "y2"))
        for line in svg.findall("line")
        if line.get("class") == "roof"
    ]


def test_both_axes_are_logarithmic() -> None:
    kernels = [product("a", 1, 0.01), product("b", 10, 0.1), product("c", 100, 1)]
    at = circles(drawn(roofline(ranked(report({"m": kernels})), CEILINGS)))
    steps = [(at[q][0] - at[p][0], at[p][1] - at[q][1]) for p, q in ("ab", "bc")]
    assert steps[0] == pytest.approx(steps[1], abs=0.3) and min(steps[0]) > 20


def test_a_kernel_at_a_ceiling_lies_on_its_line() -> None:
    ridge = 20e12 / 100e9  # FLOPs a byte where memory and 16-bit tensor cores meet
    kernels = [product("ridge", ridge, 20), product("fma", 1000, 5), product("slope", 2, 0.2)]
    svg = drawn(roofline(ranked(report({"m": kernels})), CEILINGS))
    at, lines = circles(svg), roofs(svg)
    level = {round(y1, 1) for _, y1, _, y2 in lines if y1 == y2}
    assert {round(at["ridge"][1], 1), round(at["fma"][1], 1)} == level
    x1, y1, x2, y2 = next(line for line in lines if line[1] != line[3])
    assert (x2, y2) == pytest.approx(at["ridge"], abs=0.15)
    x, y = at["slope"]
    assert y1 + (y2 - y1) * (x - x1) / (x2 - x1) == pytest.approx(y, abs=0.3)


def test_the_ceilings_are_those_of_the_precisions_that_run() -> None:
    mixed = [product("a", 10, 1), product("b", 10, 1).model_copy(update={"precision": "int8"})]
    svg = roofline(ranked(report({"m": mixed})), CEILINGS)
    assert svg and "INT8 40 TOP/s" in svg and "16-bit 20 TFLOP/s" in svg and "TF32" not in svg


def test_points_say_their_bound_by_shape_and_colour() -> None:
    kernels = [product("c", 500, 10), product("m", 10, 1, "memory"), product("l", 50, 1, "launch")]
    svg = drawn(roofline(ranked(report({"m": kernels})), CEILINGS))
    assert [e.get("class") for e in svg.findall("circle")] == ["compute"]
    assert [e.get("class") for e in svg.findall("rect")] == ["frame", "memory"]
    assert [e.get("class") for e in svg.findall("polygon")] == ["launch"]


def test_layers_that_repeat_are_one_point_with_their_number() -> None:
    kernels = [product(f"block{i}", 50, 3) for i in range(12)]
    svg = drawn(roofline(ranked(report({"m": kernels})), CEILINGS))
    titles = [c.findtext("title") or "" for c in svg.findall("circle")]
    assert len(titles) == 1 and "12 alike" in titles[0]
    assert [t.text for t in svg.findall("text") if t.get("class") == "rank"] == ["1 ×12"]


def test_the_launch_line_passes_through_a_kernel_that_is_only_launched() -> None:
    kernels = [
        kernel("tiny", 0.004, "launch", op="Add", traffic_bytes=1e3, launch_ms=0.004),
        kernel("large", 1.0, "memory", op="Add", traffic_bytes=8e7, launch_ms=0.003),
    ]
    svg = drawn(bandwidth(ranked(report({"m": kernels})), CEILINGS))
    corners = [tuple(map(float, c.split(","))) for c in svg.findall("polygon")[0].get("points", "").split()]
    x = corners[0][0]
    y = (corners[0][1] * 0.8 + corners[1][1] * 1.3) / 2.1  # the corners lie 1.3 above and 0.8 below the place
    x1, y1, x2, y2 = next(line for line in roofs(svg) if line[1] != line[3])
    assert y1 + (y2 - y1) * (x - x1) / (x2 - x1) == pytest.approx(y, abs=0.3)


def test_each_kernel_is_in_one_plot() -> None:
    kernels = [product("conv", 10, 1), kernel("add", 1, "memory", op="Add", traffic_bytes=1e6, launch_ms=0.1)]
    placed = ranked(report({"m": kernels}))
    first, second = roofline(placed, CEILINGS), bandwidth(placed, CEILINGS)
    assert first and "conv" in first and "add" not in first
    assert second and "add" in second and "conv" not in second
    assert roofline(placed[1:], CEILINGS) is None and bandwidth(placed[:1], CEILINGS) is None


def test_nothing_is_drawn_outside_the_picture() -> None:
    kernels = [product(f"k{i}", 10.0**i, 20 * 10.0 ** min(0, i - 2)) for i in range(-2, 5)]
    svg = drawn(roofline(ranked(report({"m": kernels})), CEILINGS))
    numbers = [float(v) for e in svg.iter() for k in ("cx", "x1", "x2") if (v := e.get(k)) is not None]
    heights = [float(v) for e in svg.iter() for k in ("cy", "y1", "y2") if (v := e.get(k)) is not None]
    assert min(numbers) >= 0 and max(numbers) <= WIDTH and min(heights) >= 0 and max(heights) <= HEIGHT


def test_names_are_text_and_no_markup() -> None:
    svg = roofline(ranked(report({"m": [product("</title><script>x</script>", 10, 1)]})), CEILINGS)
    assert svg and not re.search("<script", svg)
    drawn(svg)
