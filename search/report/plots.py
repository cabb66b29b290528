"""The plots of a study: interactive ones for the report (plotly), one picture for documents (matplotlib)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from bevlite.config import write_atomic
from search.study.outcome import Outcome
from search.study.records import TrialRecord

COLORS = {
    "completed": "#1f6fb4", "paused": "#2e8b57", "stopped": "#e08a1e", "rejected": "#9aa0a6", "winner": "#c2185b"
}  # fmt: skip
SYMBOLS = {"completed": "circle", "paused": "diamond", "stopped": "triangle-down", "rejected": "x"}
FONT = {"family": "system-ui, sans-serif", "size": 13}


def pareto_figure(outcome: Outcome, label: str) -> Any:
    """Accuracy against latency, with the interval of each."""
    figure = go.Figure()
    for state, records in _by_state(outcome).items():
        figure.add_trace(_cloud(state, records, outcome.where, _floor_of_axis(outcome)))
    curve = outcome.pareto
    figure.add_trace(
        go.Scatter(
            x=[record.latency_ms for record in curve],
            y=[record.accuracy for record in curve],
            mode="lines",
            name="Pareto front",
            line={"color": COLORS["completed"], "shape": "hv", "width": 1.5},
            hoverinfo="skip",
        )
    )
    if outcome.choice is not None:
        record = outcome.choice[0]
        figure.add_trace(
            go.Scatter(
                x=[record.latency_ms],
                y=[record.accuracy],
                mode="markers",
                name="winner",
                marker={"symbol": "star", "size": 18, "color": COLORS["winner"]},
                hoverinfo="skip",
            )
        )
    figure.add_vline(
        x=outcome.budget_ms,
        line={"dash": "dash", "color": "#b00020", "width": 1.5},
        annotation_text=f"budget {outcome.budget_ms:g} ms",
        annotation_position="top left",
    )
    _lay_out(figure, 480, 1.08)
    figure.update_xaxes(title=f"latency in ms ({_kinds(outcome)}; bars: its interval)", rangemode="tozero")
    figure.update_yaxes(title=f"{label}<br>({outcome.where}{_bars(outcome)})", title_font_size=12)
    return figure


def effects_figure(outcome: Outcome, label: str) -> Any | None:
    """Accuracy and latency by what was chosen, one row a choice; None when there is nothing to show."""
    names = list(dict.fromkeys(name for record in outcome.records for name in record.params))
    records = [r for r in outcome.records if r.latency is not None and r.duplicate_of is None]
    if not names or not records:
        return None
    figure = make_subplots(
        rows=len(names),
        cols=2,
        shared_yaxes=True,
        subplot_titles=[
            f"<b>{name}</b>: {what}"
            for name in names
            for what in (f"{label} (last rung reached)", f"latency in ms ({_kinds(outcome)})")
        ],
        horizontal_spacing=0.08,
        vertical_spacing=0.3 / len(names),
    )
    for row, name in enumerate(names, start=1):
        for state in SYMBOLS:
            chosen = [r for r in records if name in r.params and r.state == state]
            for column, values in ((1, "last_accuracy"), (2, "latency_ms")):
                shown = [r for r in chosen if getattr(r, values) is not None]
                figure.add_trace(
                    go.Scatter(
                        x=[getattr(r, values) for r in shown],
                        y=[str(r.params[name]) for r in shown],
                        mode="markers",
                        marker={"color": COLORS[state], "symbol": SYMBOLS[state], "size": 8, "opacity": 0.75},
                        name=state,
                        legendgroup=state,
                        showlegend=row == 1 and column == 2,
                        text=[f"trial {r.number}" for r in shown],
                        hovertemplate="%{text}: %{x:.4g}<extra></extra>",
                    ),
                    row=row,
                    col=column,
                )
        order = sorted({str(r.params[name]) for r in records if name in r.params}, key=_natural)
        figure.update_yaxes(type="category", categoryorder="array", categoryarray=order, dtick=1, row=row)
    figure.update_annotations(font_size=13)
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=90 + 190 * len(names),
        margin={"l": 60, "r": 20, "t": 60, "b": 40},
        legend={"orientation": "h", "y": 1 + 0.4 / len(names)},
    )
    return figure


def rungs_figure(outcome: Outcome, label: str) -> Any | None:
    """Accuracy over the rungs: which trials were stopped or paused where; None when nothing was trained."""
    trained = [r for r in outcome.records if r.rungs and r.duplicate_of is None]
    if not trained:
        return None
    figure = go.Figure()
    shown: set[str] = set()
    for record in trained:
        epochs = sorted(record.rungs)
        color = COLORS.get(record.state, "#555555")
        figure.add_trace(
            go.Scatter(
                x=epochs,
                y=[record.rungs[epoch]["accuracy"] for epoch in epochs],
                mode="lines+markers",
                line={"color": color, "width": 1.2},
                marker={"size": 6, "symbol": SYMBOLS.get(record.state, "circle-open")},
                name=record.state,
                legendgroup=record.state,
                showlegend=record.state not in shown,
                hovertemplate=f"trial {record.number}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            )
        )
        shown.add(record.state)
    _lay_out(figure, 360, 1.1)
    figure.update_xaxes(title="epochs trained")
    figure.update_yaxes(title=f"{label} ({outcome.where})")
    return figure


def _lay_out(figure: Any, height: int, legend_y: float) -> None:
    """The look that the plots share; `height` in px, the legend above the axes."""
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=height,
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": legend_y},
    )


def write_pareto_png(outcome: Outcome, label: str, path: Path) -> None:
    """The Pareto plot as a picture."""
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    figure = Figure(figsize=(8, 4.8), dpi=140, layout="constrained")
    axes = figure.subplots()
    low = _floor_of_axis(outcome)
    markers = {"completed": "o", "paused": "D", "stopped": "v", "rejected": "x"}
    for state, records in _by_state(outcome).items():
        if not records:
            continue
        x = [record.latency_ms or 0.0 for record in records]
        y = [low if r.last_accuracy is None else r.last_accuracy for r in records]
        spans, likely = [_interval(record) for record in records], [_likely(record) for record in records]
        axes.errorbar(
            x,
            y,
            xerr=([s[0] for s in spans], [s[1] for s in spans]),
            yerr=([s[0] for s in likely], [s[1] for s in likely]),
            fmt=markers[state],
            color=COLORS[state],
            ecolor=COLORS[state] + "40",
            label=f"{_legend(state)} ({len(records)})",
            markersize=6,
        )
    curve = outcome.pareto
    front_x, front_y = [r.latency_ms or 0.0 for r in curve], [r.accuracy or 0.0 for r in curve]
    axes.step(front_x, front_y, where="post", color=COLORS["completed"], linewidth=1.2, label="Pareto front")
    if outcome.choice is not None:
        record = outcome.choice[0]
        at = [record.latency_ms or 0], [record.accuracy or 0]
        axes.plot(*at, "*", color=COLORS["winner"], ms=16, label="winner")
    axes.axvline(outcome.budget_ms, color="#b00020", linestyle="--", label=f"budget {outcome.budget_ms:g} ms")
    axes.set_xlim(left=0)
    axes.set_xlabel(f"latency in ms ({_kinds(outcome)}; bars: its interval)")
    axes.set_ylabel(f"{label}\n({outcome.where}{_bars(outcome)})")
    axes.grid(alpha=0.25)
    figure.legend(fontsize=7.5, loc="outside upper center", ncols=6, frameon=False, columnspacing=1.2)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomic(path, picture.getvalue())


def _likely(record: TrialRecord) -> tuple[float, float]:
    """How far below and above its accuracy 95 % of draws of the scenes are; nothing where nothing was drawn."""
    if record.interval is None or record.accuracy is None:
        return 0.0, 0.0
    lower, upper = record.interval
    return max(0.0, record.accuracy - lower), max(0.0, upper - record.accuracy)


def _bars(outcome: Outcome) -> str:
    """What the bars of accuracies are, where there are any."""
    drawn = any(record.interval is not None for record in outcome.records)
    return "; bars: 95 % over draws of the scenes" if drawn else ""


def _cloud(state: str, records: list[TrialRecord], where: str, low: float) -> Any:
    spans, likely = [_interval(record) for record in records], [_likely(record) for record in records]
    texts = [
        f"<b>trial {r.number}</b> {r.state}<br>{r.latency.text if r.latency else ''}<br>"
        + (f"{r.last_accuracy:.4f} at epoch {r.last_epoch} ({where})<br>" if r.rungs else "not trained<br>")
        + "<br>".join(f"{name}: {value}" for name, value in r.params.items())
        for r in records
    ]
    return go.Scatter(
        x=[record.latency_ms for record in records],
        y=[low if r.last_accuracy is None else r.last_accuracy for r in records],
        error_x=_bar(spans, state),
        error_y=_bar(likely, state),
        mode="markers",
        name=f"{_legend(state)} ({len(records)})",
        marker={"color": COLORS[state], "symbol": SYMBOLS[state], "size": 9},
        text=texts,
        hovertemplate="%{text}<extra></extra>",
    )


def _bar(ends: list[tuple[float, float]], state: str) -> dict[str, Any]:
    """Bars from so far below to so far above each point."""
    below, above = [lower for lower, _ in ends], [upper for _, upper in ends]
    form = {"type": "data", "symmetric": False, "thickness": 1, "width": 3, "color": COLORS[state] + "60"}
    return form | {"arrayminus": below, "array": above}


def _by_state(outcome: Outcome) -> dict[str, list[TrialRecord]]:
    usable = [r for r in outcome.records if r.latency is not None and r.duplicate_of is None]
    return {state: [r for r in usable if r.state == state] for state in SYMBOLS}


def _natural(text: str) -> tuple[float, str]:
    """Numbers by size, words after them."""
    try:
        return float(text), text
    except ValueError:
        return float("inf"), text


def _legend(state: str) -> str:
    words = {"paused": "paused at a rung", "stopped": "stopped early", "rejected": "rejected, untrained"}
    return words.get(state, state)


def _floor_of_axis(outcome: Outcome) -> float:
    """Where trials without accuracy are drawn: a little below the lowest accuracy."""
    known = [r.last_accuracy for r in outcome.records if r.last_accuracy is not None]
    return min(known) - 0.06 * (max(known) - min(known) or 0.1) if known else 0.0


def _interval(record: TrialRecord) -> tuple[float, float]:
    assert record.latency is not None
    latency = record.latency
    return latency.total_ms - latency.lower_ms, latency.upper_ms - latency.total_ms


def _kinds(outcome: Outcome) -> str:
    return ", ".join(sorted({r.latency.kind for r in outcome.records if r.latency is not None})) or "none yet"
