"""Two plots of the kernels of a report as SVG text: a roofline, and what kernels without products move.

Colours come from the page's style sheet by class, so that both themes can be read; the shape of a point says the
bound as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import atan2, ceil, degrees, floor, log10, pi, sqrt

from bevlite.devices.report.latency import Ceilings
from bevlite.reporting.latency_rows import PlacedKernel, percent

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 74, 142, 18, 54
LABELLED = 10
"""The costliest kernels carry their rank."""
TENSOR_NAMES = {"fp32": "TF32", "fp16": "16-bit", "int8": "INT8"}


@dataclass(frozen=True)
class Line:
    """A ceiling: from (x, y) to (x, y) in data units, with a label beside or along it."""

    start: tuple[float, float]
    end: tuple[float, float]
    label: str


@dataclass
class Point:
    """Kernels at the same place: how many, their time together, the best of their ranks."""

    x: float
    y: float
    bound: str
    rank: int
    title: str
    count: int = 1
    share: float = 0.0


@dataclass(frozen=True)
class Axes:
    """Logarithmic axes: data units to the pixels of the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the data lies in the picture."""
        across = (log10(x) - log10(self.x[0])) / (log10(self.x[1]) - log10(self.x[0]))
        up = (log10(y) - log10(self.y[0])) / (log10(self.y[1]) - log10(self.y[0]))
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def roofline(kernels: Iterable[PlacedKernel], ceilings: Ceilings) -> str | None:
    """FLOP/s reached against FLOPs a byte, of the kernels with products; None when there is none."""
    chosen = [p for p in kernels if p.kernel.flops > 0 and p.kernel.traffic_bytes > 0 and p.kernel.latency_ms > 0]
    points = _points(
        (p, p.kernel.flops / p.kernel.traffic_bytes, p.kernel.flops / p.kernel.latency_ms / 1e6) for p in chosen
    )
    if not points:
        return None
    precisions = [name for name in TENSOR_NAMES if any(p.kernel.precision == name for p in chosen)]
    roofs = {f"FP32 {ceilings.fma_fp32_tflops:.3g} TFLOP/s": ceilings.fma_fp32_tflops * 1e3}
    for name in precisions:
        tflops = ceilings.tensor_tflops[name]
        roofs[f"{TENSOR_NAMES[name]} {tflops:.3g} T{'OP' if name == 'int8' else 'FLOP'}/s"] = tflops * 1e3
    top, slope = max(roofs.values()), ceilings.memory_gb_per_s
    axes = Axes(
        _span([p.x for p in points] + [top / slope]),
        _span([p.y for p in points] + [top * 1.3]),
    )
    lines = [Line((max(axes.x[0], level / slope), level), (axes.x[1], level), label) for label, level in roofs.items()]
    low = max(axes.x[0], axes.y[0] / slope)
    lines.append(Line((low, low * slope), (top / slope, top), f"memory {slope:.4g} GB/s"))
    return _plot(axes, lines, points, "FLOPs per byte of memory traffic", "GFLOP/s reached", "Roofline")


def bandwidth(kernels: Iterable[PlacedKernel], ceilings: Ceilings) -> str | None:
    """GB/s reached against bytes moved, of the kernels without products; None when there is none."""
    chosen = [p for p in kernels if not p.kernel.flops and p.kernel.traffic_bytes > 0 and p.kernel.latency_ms > 0]
    points = _points(
        (p, p.kernel.traffic_bytes / 1e6, p.kernel.traffic_bytes / p.kernel.latency_ms / 1e6) for p in chosen
    )
    if not points:
        return None
    roof, launch_ms = ceilings.memory_gb_per_s, ceilings.launch_us / 1e3
    knee = roof * launch_ms  # MB that memory moves while a kernel is launched: MB = GB/s times ms
    axes = Axes(_span([p.x for p in points] + [knee]), _span([p.y for p in points] + [roof * 1.3]))
    low = max(axes.x[0], axes.y[0] * launch_ms)
    lines = [
        Line((max(axes.x[0], knee), roof), (axes.x[1], roof), f"memory {roof:.4g} GB/s"),
        Line((low, low / launch_ms), (knee, roof), f"one launch, {launch_ms * 1e3:.3g} us"),
    ]
    return _plot(axes, lines, points, "MB of memory traffic", "GB/s reached", "Bandwidth")


def _points(kernels: Iterable[tuple[PlacedKernel, float, float]]) -> list[Point]:
    """Kernels that would be drawn over each other become one point (layers that repeat are often alike)."""
    points: dict[tuple[str, float, float], Point] = {}
    for placed, x, y in kernels:
        kernel = placed.kernel
        title = f"{kernel.name} ({kernel.op}), {kernel.latency_ms:.3f} ms, {percent(kernel.share)}, {kernel.precision}"
        key = (kernel.bound, round(log10(x), 2), round(log10(y), 2))
        known = points.setdefault(key, Point(x, y, kernel.bound, placed.rank, title, count=0))
        known.count += 1
        known.share += kernel.share
    return list(points.values())


def _span(values: Sequence[float]) -> tuple[float, float]:
    return min(values) / 1.8, max(values) * 1.8


def _plot(axes: Axes, lines: Sequence[Line], points: Sequence[Point], x: str, y: str, name: str) -> str:
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}: {len(points)} points">',
        *_grid(axes),
        *(part for line in lines for part in _ceiling(axes, line)),
        # the large ones first, so that small ones stay visible
        *(_marker(axes, point) for point in sorted(points, key=lambda p: -p.share)),
        *_ranks(axes, points),
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 12}" text-anchor="middle">{x}</text>',
        f'<text class="axis" transform="translate(16 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{y}</text>',
        "</svg>",
    ]
    return "\n".join(parts)


def _grid(axes: Axes) -> list[str]:
    parts = [
        f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"/>'
    ]
    for value, label in _ticks(*axes.x):
        x, _ = axes.at(value, axes.y[0])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{label}</text>')
    for value, label in _ticks(*axes.y):
        _, y = axes.at(axes.x[0], value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    return parts


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Decades; also 2 and 5 where there are few decades."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    steps = (1, 2, 5) if log10(high / low) < 2.5 else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return [(value, f"{value:,.10g}") for value in values if low <= value <= high]


def _ceiling(axes: Axes, line: Line) -> list[str]:
    (x1, y1), (x2, y2) = axes.at(*line.start), axes.at(*line.end)
    drawn = f'<line class="roof" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
    if y1 == y2:
        return [drawn, f'<text class="roof-name" x="{x2 + 6:.1f}" y="{y2 + 4:.1f}">{line.label}</text>']
    angle = degrees(atan2(y2 - y1, x2 - x1))
    x, y = x1 + (x2 - x1) * 0.35, y1 + (y2 - y1) * 0.35
    place = f'transform="translate({x:.1f} {y:.1f}) rotate({angle:.1f}) translate(0 -7)"'
    return [drawn, f'<text class="roof-name" {place} text-anchor="middle">{line.label}</text>']


def _radius(point: Point) -> float:
    """The area of a point is its share of the time, above a size that can still be seen."""
    return sqrt(16 + 1800 * point.share / pi)


def _marker(axes: Axes, point: Point) -> str:
    x, y = axes.at(point.x, point.y)
    r = _radius(point)
    more = f"; {point.count} alike, {percent(point.share)} together" if point.count > 1 else ""
    title = f"<title>{escape(point.title + more)}; bound by {point.bound}</title>"
    if point.bound == "compute":
        return f'<circle class="compute" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}">{title}</circle>'
    if point.bound == "memory":
        side = r * 1.77
        corner = f'x="{x - side / 2:.1f}" y="{y - side / 2:.1f}"'
        return f'<rect class="memory" {corner} width="{side:.1f}" height="{side:.1f}">{title}</rect>'
    corners = f"{x:.1f},{y - r * 1.3:.1f} {x - r * 1.2:.1f},{y + r * 0.8:.1f} {x + r * 1.2:.1f},{y + r * 0.8:.1f}"
    return f'<polygon class="launch" points="{corners}">{title}</polygon>'


def _ranks(axes: Axes, points: Sequence[Point]) -> list[str]:
    """The ranks of the costliest kernels beside their points; where there is no room, the lower one is left out."""
    occupied = [axes.at(point.x, point.y) for point in points]
    parts = []
    for point in sorted((p for p in points if p.rank <= LABELLED), key=lambda p: p.rank):
        label = f"{point.rank}" + (f" ×{point.count}" if point.count > 1 else "")
        width, away = 7.0 * len(label), _radius(point) + 3
        x, y = axes.at(point.x, point.y)
        # right, left, above, below: the left end and the baseline of the text
        places = [
            (x + away, y + 4),
            (x - away - width, y + 4),
            (x - width / 2, y - away - 2),
            (x - width / 2, y + away + 10),
        ]
        free = [(a, b) for a, b in places if _is_free(a, b, width, occupied) and LEFT < a < WIDTH - RIGHT - width]
        if free:
            left, base = free[0]
            occupied += [(left, base - 4), (left + width / 2, base - 4), (left + width, base - 4)]
            parts.append(f'<text class="rank" x="{left:.1f}" y="{base:.1f}">{label}</text>')
    return parts


def _is_free(left: float, base: float, width: float, occupied: Sequence[tuple[float, float]]) -> bool:
    return not any(left - 3 < x < left + width + 3 and base - 15 < y < base + 6 for x, y in occupied)
