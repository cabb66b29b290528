"""Whole frames in words and rows, for the command line and the pages."""

from __future__ import annotations

from bevlite.devices.report.whole_frames import Distribution, Flight, WholeFrames

STEP_COLUMNS = ("step of a frame", "ms", "the figure is")
FLIGHT_COLUMNS = ("frames", "P50 ms", "95 % interval", "P90", "P95", "P99", "1/s", "W", "MB", "samples")


def step_rows(found: WholeFrames) -> list[tuple[str, str, str]]:
    """Every step in its order: name, median or `missing`, and what the figure is or why there is none."""
    return [
        (step.name, "missing", step.why)
        if step.latency_ms is None
        else (step.name, f"{step.latency_ms:.3f}", "median with one frame in flight")
        for step in found.steps
    ]


def flight_rows(found: WholeFrames) -> list[tuple[str, ...]]:
    """One and two frames in flight, in `FLIGHT_COLUMNS`."""
    flights = (("one in flight", found.one_in_flight), ("two in flight", found.two_in_flight))
    return [_flight_row(title, flight) for title, flight in flights if flight is not None]


def sentences(found: WholeFrames) -> list[str]:
    """What the rows do not say: what is missing, the first frame, the difference to the engines alone, the samples."""
    if found.why_not:
        return [f"end to end: not measured: {found.why_not}"]
    lines = [f"end to end: not in any figure: {', '.join(found.missing)}"] if found.missing else []
    if found.first_frame_ms is not None:
        all_of_them = ", ".join(f"{ms:.2f}" for ms in found.first_frames_ms)
        lines.append(f"first frame after loading: {found.first_frame_ms:.2f} ms (of {all_of_them})")
    if found.difference:
        lines.append(f"one frame in flight takes {found.difference}")
    lines.append(_how(found))
    if found.samples is not None:
        kind = "real" if found.samples.real else "made up, not real"
        lines.append(f"frames: {found.samples.count} {kind}: {found.samples.source}")
        for name, counts in (("points in pillars", found.samples.points), ("pillars", found.samples.pillars)):
            if counts is not None:
                lines.append(f"{name} of a frame: {_counts(counts)}")
    return lines


def _flight_row(title: str, flight: Flight) -> tuple[str, ...]:
    timing, power = flight.timing, flight.power
    return (
        title,
        f"{timing.p50_ms:.3f}",
        f"{timing.lower_ms:.3f} to {timing.upper_ms:.3f}",
        *(f"{value:.3f}" for value in (timing.p90_ms, timing.p95_ms, timing.p99_ms)),
        f"{flight.throughput_fps:.1f}",
        "-" if power is None or power.module_w is None else f"{power.module_w:.1f}",
        "-" if flight.memory_mb is None else f"{flight.memory_mb:.0f}",
        str(len(timing.samples_ms)),
    )


def _how(found: WholeFrames) -> str:
    parts = found.one_in_flight.parts if found.one_in_flight is not None else ()
    plain = [part.name for part in parts if part.kind == "engine" and part.name not in found.cuda_graphs]
    graphs = f"without a CUDA graph: {', '.join(plain)}" if plain else "every engine as a CUDA graph"
    return f"run by {found.runner}, {graphs}"


def _counts(counts: Distribution) -> str:
    return f"{counts.minimum:.0f} to {counts.maximum:.0f}, median {counts.median:.0f}, P90 {counts.p90:.0f}"
