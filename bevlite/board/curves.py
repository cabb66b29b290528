"""A page with the curves of a monitor run: one file, drawn as SVG, nothing loaded from a network."""

from __future__ import annotations

import html
import os
from typing import Any, Mapping, NamedTuple, Sequence

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 180, 60, 24
COLOURS = ("#12325c", "#c05a00", "#2f7d4f", "#7a3f98", "#8a1538", "#4a4a4a")
MOST_POINTS = 1500
"""In one curve: of more, the largest of every group is drawn, so that no peak is lost."""
_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body{{font:14px/1.4 system-ui,sans-serif;max-width:960px;margin:2em auto;color:#222}}
h1{{font-size:1.3em}}h2{{font-size:1em;margin:1.4em 0 .2em}}svg{{display:block}}text{{font:11px system-ui,sans-serif}}
.key span{{margin-right:1.2em}}</style></head><body><h1>{title}</h1><p>{head}</p>{events}{charts}</body></html>
"""


class Curve(NamedTuple):
    """One line of a chart: its name, and (s, value) of every interval that has one."""

    name: str
    points: list[tuple[float, float]]


def write_page(
    path: str,
    title: str,
    rows: Sequence[Mapping[str, Any]],
    events: Sequence[Mapping[str, Any]],
    limits: Mapping[str, float],
) -> None:
    """Write the page, whole or not at all (raises OSError)."""
    zones = sorted({name for row in rows for name in row["temperatures_c"]})
    charts = [
        ("Latency, ms", [_curve(rows, n, lambda r, n=n: r["latency_ms"][n]) for n in ("p50", "p99", "max")],
         limits.get("latency_ms")),
        ("Frames a second", [_curve(rows, "frames a second", lambda r: r["fps"])], limits.get("fps")),
        ("Power of the module, W", [_curve(rows, "power", lambda r: r["power_w"])], limits.get("power_w")),
        ("Temperature, C", [_curve(rows, z, lambda r, z=z: r["temperatures_c"].get(z)) for z in zones], None),
        ("GPU clock, MHz (lowest of the interval)", [_curve(rows, "GPU", lambda r: r["gpu_mhz"])], None),
        ("Free memory, MB", [_curve(rows, "free", lambda r: r["memory_free_mb"])], None),
    ]  # fmt: skip
    frames, seconds = sum(row["frames"] for row in rows), rows[-1]["at_s"]
    listed = "".join(f"<li>{e['at_s']:.1f} s: {html.escape(str(e['what']))}</li>" for e in events)
    text = _PAGE.format(
        title=html.escape(title),
        head=f"{frames} frames in {seconds:.0f} s, {len(events)} events",
        events=f"<h2>What broke, and when</h2><ul>{listed}</ul>" if events else "<p>No limit was broken.</p>",
        charts="".join(_chart(name, curves, limit, seconds, events) for name, curves, limit in charts),
    )
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".new", path)


def _curve(rows: Sequence[Mapping[str, Any]], name: str, value: Any) -> Curve:
    points = [(float(row["at_s"]), float(value(row))) for row in rows if value(row) is not None]
    step = -(-len(points) // MOST_POINTS) or 1
    groups = [points[i : i + step] for i in range(0, len(points), step)]
    return Curve(name, [max(group, key=lambda point: point[1]) for group in groups])


def _chart(
    title: str, curves: Sequence[Curve], limit: float | None, seconds: float, events: Sequence[Mapping[str, Any]]
) -> str:
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return f"<h2>{html.escape(title)}</h2><p>not known on this board</p>"
    values = [y for curve in curves for _, y in curve.points] + ([] if limit is None else [limit])
    low, high = min(values), max(values)
    low, high = (min(0.0, low), high or 1.0) if low < 0.5 * high else (low - 0.02 * high, high * 1.02)

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT) * x / max(seconds, 1e-9)
        return f"{across:.1f},{(HEIGHT - BOTTOM) * (1 - (y - low) / max(high - low, 1e-9)) + 4:.1f}"

    lines = [f'<line x1="{LEFT}" y1="{HEIGHT - 20}" x2="{WIDTH}" y2="{HEIGHT - 20}" stroke="#999"/>']
    for share in (0.0, 0.5, 1.0):
        y = low + share * (high - low)
        across, down = place(0.0, y).split(",")
        lines.append(f'<text x="{LEFT - 6}" y="{float(down) + 4:.1f}" text-anchor="end">{y:.4g}</text>')
        across, _ = place(share * seconds, low).split(",")
        lines.append(f'<text x="{across}" y="{HEIGHT - 6}" text-anchor="middle">{share * seconds:.0f} s</text>')
    for event in events:
        across = place(float(event["at_s"]), low).split(",")[0]
        lines.append(
            f'<line x1="{across}" y1="0" x2="{across}" y2="{HEIGHT - 20}" stroke="#d33" stroke-dasharray="2"/>'
        )
    if limit is not None:
        start, end = place(0, limit), place(seconds, limit)
        lines.append(f'<polyline points="{start} {end}" fill="none" stroke="#d33" stroke-dasharray="6"/>')
    key = []
    for curve, colour in zip(curves, COLOURS * 4):
        path = " ".join(place(x, y) for x, y in curve.points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        key.append(f'<span style="color:{colour}">{html.escape(curve.name)}</span>')
    drawn = f'<svg viewBox="0 0 {WIDTH + 20} {HEIGHT}" width="100%">{"".join(lines)}</svg>'
    return f'<h2>{html.escape(title)}</h2><div class="key">{"".join(key)}</div>{drawn}'
