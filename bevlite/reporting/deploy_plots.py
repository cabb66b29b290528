"""Plots of a deploy (plotly): how latencies are distributed, how the board stood meanwhile, where the time of its
engines goes. What an emulated board says is drawn as such."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bevlite.devices.report.deploy import DeployReport
from bevlite.devices.report.latency import LatencyReport
from bevlite.devices.report.timing import Course, LayerTime, Timing
from bevlite.reporting.latency_rows import percent, tail

COLOURS = ("#1f6fb4", "#c96a12", "#1a7f37", "#7b5bb5", "#b0005e", "#586374")
BUDGET = "#b00020"
EMULATED = {"paper_bgcolor": "#fff3e2", "plot_bgcolor": "#fff3e2"}
FONT = {"family": "system-ui, sans-serif", "size": 13}
COLUMNS = 2
"""Histograms beside each other."""
GAP_S = 1.0
"""A line is not drawn through a pause as long as that."""
LAYERS = 25
"""Layers that are drawn: the longest."""
NAME = 58
"""Characters of a layer's name."""


def plots_of(report: DeployReport) -> dict[str, str]:
    """Pieces of HTML by name (`latency`, `course`, `layers`), of what there is; they need plotly's script."""
    if report.latency is None:
        return {}
    made = {
        "latency": _latency(report.latency, report.budgets.latency_ms),
        "course": _course(report.latency),
        "layers": _layers(report.latency),
    }
    return {name: _html(figure, name, report.emulated) for name, figure in made.items() if figure is not None}


def _latency(latency: LatencyReport, budget_ms: float) -> Any:
    """Histograms of whole frames, else of each engine, each on an axis of its own, with percentiles and the budget."""
    from plotly.subplots import make_subplots

    timings = _timings(latency)
    titles = [f"{name}: P50 {t.p50_ms:.4g}, P90 {t.p90_ms:.4g}, P99 {t.p99_ms:.4g} ms" for name, t in timings]
    rows = -(-len(timings) // COLUMNS)
    figure = make_subplots(rows=rows, cols=min(COLUMNS, len(timings)), subplot_titles=titles)
    for number, (name, timing) in enumerate(timings):
        place = {"row": number // COLUMNS + 1, "col": number % COLUMNS + 1}
        counts, edges = np.histogram(timing.samples_ms, bins=60)
        share = 100 * counts / counts.sum()
        figure.add_bar(x=(edges[:-1] + edges[1:]) / 2, y=share, width=np.diff(edges), name=name, **place,
                       marker_color=COLOURS[number % len(COLOURS)], showlegend=False)  # fmt: skip
        for mark, value in (("P50", timing.p50_ms), ("P90", timing.p90_ms), ("P99", timing.p99_ms)):
            line = {"dash": "dot", "color": "#3d4957", "width": 1.2}
            figure.add_vline(x=value, line=line, annotation_text=mark, annotation_font_size=10, **place)
        if edges[0] <= budget_ms <= edges[-1]:
            figure.add_vline(x=budget_ms, line={"dash": "dash", "color": BUDGET, "width": 2}, **place)
        figure.update_xaxes(title=f"ms (budget: {budget_ms:g} ms)", **place)
        figure.update_yaxes(title="samples [%]", **place)
    figure.update_layout(height=60 + 280 * rows, bargap=0)
    return figure


def _timings(latency: LatencyReport) -> list[tuple[str, Timing]]:
    """Whole frames where they were timed: they are what the budget is compared with; else the engines."""
    whole = latency.end_to_end
    if whole is not None and whole.one_in_flight is not None:
        flights = (("one frame in flight", whole.one_in_flight), ("two in flight", whole.two_in_flight))
        return [(name, flight.timing) for name, flight in flights if flight is not None]
    return [(row.name, row.measured.timing) for row in latency.modules if row.measured is not None]


def _course(latency: LatencyReport) -> Any | None:
    """Power and temperature of every timed window on the board's clock; None where nothing was sampled."""
    from plotly.subplots import make_subplots

    windows = list(_courses(latency))
    if not windows:
        return None
    begin_s = min(min(course.at_s) for _, course in windows)
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, subplot_titles=("power of the module", "temperature")
    )
    for number, (name, course) in enumerate(windows):
        style = {"mode": "lines+markers", "marker": {"size": 4}, "line": {"width": 1.2}, "name": name}
        style |= {"legendgroup": name, "line_color": COLOURS[number % len(COLOURS)]}
        at, (watts, degrees) = _with_gaps(course, begin_s)
        figure.add_scatter(x=at, y=watts, row=1, col=1, **style)
        figure.add_scatter(x=at, y=degrees, row=2, col=1, showlegend=False, **style)
    figure.update_layout(height=500)
    figure.update_yaxes(title="W", row=1, rangemode="tozero")
    figure.update_yaxes(title="degrees C", row=2)
    figure.update_xaxes(title="seconds on the board's clock", row=2)
    return figure


def _with_gaps(course: Course, begin_s: float) -> tuple[list[float], tuple[list[float | None], list[float | None]]]:
    """Seconds since `begin_s`, power and temperature, with nothing in the pauses between runs."""
    at: list[float] = []
    values: tuple[list[float | None], list[float | None]] = ([], [])
    for moment in zip(course.at_s, course.module_w, course.temperature_c, strict=True):
        if at and moment[0] - begin_s - at[-1] > GAP_S:
            at.append(moment[0] - begin_s)
            for listed in values:
                listed.append(None)
        at.append(moment[0] - begin_s)
        for listed, value in zip(values, moment[1:], strict=True):
            listed.append(value)
    return at, values


def _courses(latency: LatencyReport) -> Iterator[tuple[str, Course]]:
    measured = [(row.name, row.measured.power) for row in latency.modules if row.measured is not None]
    whole = latency.end_to_end
    flights = (("one frame in flight", whole.one_in_flight), ("two in flight", whole.two_in_flight)) if whole else ()
    for name, power in (*measured, *((name, flight.power) for name, flight in flights if flight is not None)):
        if power is not None and power.course is not None and power.course.at_s:
            yield name, power.course


def _layers(latency: LatencyReport) -> Any | None:
    """The longest layers of all engines by time, coloured by precision; None where none was profiled."""
    import plotly.graph_objects as go

    found = [(row.name, layer) for row in latency.modules if row.measured is not None for layer in row.measured.layers]
    whole_ms = sum(layer.latency_ms for _, layer in found)
    if not whole_ms:
        return None
    longest = sorted(found, key=lambda pair: -pair[1].latency_ms)[:LAYERS]
    places = [f"{rank}. {tail(layer.name, NAME)}" for rank, (_, layer) in enumerate(longest, start=1)]
    figure = go.Figure()
    for number, precision in enumerate(dict.fromkeys(layer.precision for _, layer in longest)):
        own = [i for i, (_, layer) in enumerate(longest) if layer.precision == precision]
        figure.add_trace(
            go.Bar(
                x=[longest[i][1].latency_ms for i in own],
                y=[places[i] for i in own],
                orientation="h",
                name=precision or "precision not known",
                marker_color=COLOURS[number % len(COLOURS)],
                text=[percent(longest[i][1].latency_ms / whole_ms) for i in own],
                customdata=[_words(*longest[i]) for i in own],
                hovertemplate="%{customdata}<extra></extra>",
            )
        )
    figure.update_layout(height=80 + 22 * len(longest), showlegend=True, bargap=0.25)
    figure.update_yaxes(categoryorder="array", categoryarray=places[::-1], tickfont={"size": 11}, automargin=True)
    figure.update_xaxes(title="ms in a profiled run of its own, which is slower; share of all its layers")
    return figure


def _words(module: str, layer: LayerTime) -> str:
    return f"{module}: {layer.name}<br>{layer.latency_ms:.4f} ms, {layer.kind} {layer.precision}"


def _html(figure: Any, name: str, emulated: bool) -> str:
    figure.update_layout(
        template="plotly_white", font=FONT, margin={"l": 60, "r": 20, "t": 70, "b": 50},
        legend={"orientation": "h", "y": 1, "yref": "container", "yanchor": "top", "x": 0},
    )  # fmt: skip
    if emulated:
        figure.update_layout(**EMULATED)
        figure.add_annotation(
            text="EMULATED", x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, textangle=-12, opacity=0.18,
            font={"size": 64, "color": "#a34a00"},
        )  # fmt: skip
    return str(
        figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False}, div_id=f"plot-{name}")
    )
