"""What trtexec prints of a timed run, and `--exportTimes`. Layout: sampleReporting.cpp of each release."""

from __future__ import annotations

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.trtexec.log import Log, number
from bevlite.simulation.jetson.trtexec.options import Options
from bevlite.simulation.jetson.trtexec.trace import Summary, Trace, summarise

SHOWN_AVERAGES = 10


def print_times(log: Log, trace: Trace, options: Options, release: Release) -> None:
    """The lines from `Warmup completed` to the summary."""
    log.info(
        f"Warmup completed {trace.warm_up_queries} queries over {number(options.warm_up_ms)} ms",
        f"Timing trace has {len(trace.compute_ms)} queries over {number(trace.wall_ms / 1000)} s",
        "",
        "=== Trace details ===",
        f"Trace averages of {options.average_runs} runs:",
    )
    _print_averages(log, trace, options.average_runs, shorten=release.major >= 10)
    log.info("")
    _print_summary(log, trace, options, release)


def _print_averages(log: Log, trace: Trace, runs: int, shorten: bool) -> None:
    lines = []
    for start in range(0, len(trace.compute_ms) - runs + 1, runs):
        part = slice(start, start + runs)
        gpu, host = trace.compute_ms[part].mean(), trace.latency_ms[part].mean()
        lines.append(
            f"Average on {runs} runs - GPU latency: {number(gpu)} ms - Host latency: {number(host)} ms "
            f"(enqueue {number(trace.enqueue_ms[part].mean())} ms)"
        )
    if shorten and len(lines) > 2 * SHOWN_AVERAGES:
        omitted = f"... Omitting {len(lines) - 2 * SHOWN_AVERAGES} lines"
        lines = [*lines[:SHOWN_AVERAGES], omitted, *lines[-SHOWN_AVERAGES:]]
    if lines:
        log.info(*lines)


def _line(name: str, summary: Summary, options: Options) -> str:
    text = (
        f"{name}: min = {number(summary.minimum)} ms, max = {number(summary.maximum)} ms, "
        f"mean = {number(summary.mean)} ms, median = {number(summary.median)} ms"
    )
    for percent, value in zip(options.percentiles, summary.percentiles, strict=True):
        text += f", percentile({number(percent)}%) = {number(value)} ms"
    return text


def _print_summary(log: Log, trace: Trace, options: Options, release: Release) -> None:
    gpu = summarise(trace.compute_ms, options.percentiles)
    enqueue = summarise(trace.enqueue_ms, options.percentiles)
    count = len(trace.compute_ms)
    log.info(
        "=== Performance summary ===",
        f"Throughput: {number(count / (trace.wall_ms / 1000))} qps",
        _line("Latency", summarise(trace.latency_ms, options.percentiles), options),
        _line("Enqueue Time", enqueue, options),
        _line("H2D Latency", summarise(trace.h2d_ms, options.percentiles), options),
        _line("GPU Compute Time", gpu, options),
        _line("D2H Latency", summarise(trace.d2h_ms, options.percentiles), options),
        f"Total Host Walltime: {number(trace.wall_ms / 1000)} s",
        f"Total GPU Compute Time: {number(gpu.mean * count / 1000)} s",
    )
    newest = release.major >= 11
    if enqueue.mean > gpu.mean:
        log.warn(
            "* Throughput may be bound by Enqueue Time rather than GPU Compute and the GPU may be under-utilized.",
            "  If you are using --noCudaGraph, removing it may increase throughput."
            if newest
            else "  If not already in use, --useCudaGraph (utilize CUDA graphs where possible) may increase the "
            "throughput.",
        )
    if gpu.variation > release.unstable_percent:
        hint = "locking GPU clock frequency may improve the stability."
        if not newest:
            hint = "locking GPU clock frequency or adding --useSpinWait may improve the stability."
        log.warn(
            f"* GPU compute time is unstable, with coefficient of variance = {number(gpu.variation)}%.",
            f"  If not already in use, {hint}",
        )
    if options.streams > 1 and release.number >= 8600:
        log.warn(
            "* Multiple inference streams are used. Latencies may not be accurate since inferences may run in "
            '  parallel. Please use "Throughput" as the performance metric instead.'
        )
    log.info("Explanations of the performance metrics are printed in the verbose logs.", "")


def times_json(trace: Trace) -> str:
    """The document of `--exportTimes`, laid out as trtexec does."""
    columns = {
        "startEnqMs": trace.enqueue, "endEnqMs": trace.enqueue_end, "startH2dMs": trace.h2d, "endH2dMs": trace.h2d_end,
        "startComputeMs": trace.compute, "endComputeMs": trace.compute_end, "startD2hMs": trace.d2h,
        "endD2hMs": trace.d2h_end, "h2dMs": trace.h2d_ms, "computeMs": trace.compute_ms, "d2hMs": trace.d2h_ms,
        "latencyMs": trace.latency_ms,
    }  # fmt: skip
    rows = [
        "{ " + ", ".join(f'"{name}" : {value:g}' for name, value in zip(columns, row, strict=True)) + " }"
        for row in zip(*(values.tolist() for values in columns.values()), strict=True)
    ]
    return "[\n  " + "\n, ".join(rows) + "\n]\n"
