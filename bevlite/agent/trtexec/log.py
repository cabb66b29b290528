"""What trtexec prints: the summary, what became of DLA and CUDA graph, and why it failed."""

from __future__ import annotations

import re
from typing import NamedTuple

from bevlite.agent.fault import FULL_DISK_FIX, Fault
from bevlite.agent.process import Finished

_LINE = re.compile(
    r"(?m)\] (Latency|Enqueue Time|H2D Latency|GPU Compute Time|D2H Latency): "
    r"min = (\S+) ms, max = (\S+) ms, mean = (\S+) ms, median = (\S+) ms"
)
_THROUGHPUT = re.compile(r"Throughput: (\S+) qps")
_BUILT = re.compile(r"Engine built in (\S+) sec")
_CONTEXT = re.compile(r"Created execution context with device memory size: (\S+) MiB")
_NODE = re.compile(r'While parsing node number \d+ \[(\S+) -> "([^"]*)"')
_IMPORTER = re.compile(r"No importer registered for op: (\w+)")
_PLUGIN = re.compile(r"Successfully created plugin: (\w+)")
_NO_KERNEL = re.compile(r"Could not find any implementation for node (.+?)(?:\.\)|\.$|$)", re.MULTILINE)
_ON_GPU = re.compile(r"layer (.+?) is not supported on DLA, falling back to GPU")
_SWITCHED = re.compile(r"Switching to GPU for layer (.+)")
_UNKNOWN_FLAG = re.compile(r"Unknown option: (\S+)")
_VERSIONS = re.compile(r"expecting library version (\S+) got (\S+?),? please rebuild")
_COMPUTES = re.compile(r"expecting compute (\S+) got compute (\S+?),? please rebuild")

GRAPH_REFUSED = "The specified --useCudaGraph flag has been ignored"
GRAPH_IMPOSSIBLE = "operations that are not permitted under CUDA graph capture mode"
MODEL_CHANGED = "Using an engine plan file across different models of devices is not recommended"
_MEMORY = (
    "Cuda Runtime (out of memory)",
    "Device memory is insufficient to use tactic",
    "due to insufficient memory on requested size",
    "Requested amount of GPU memory",
    "out of memory",
)
"""What says that memory was missing. Without one of these a node without an implementation has none."""


class Summary(NamedTuple):
    """The performance summary: medians in ms by name, and queries a second (two queries are in flight)."""

    medians_ms: dict[str, float]
    throughput_qps: float | None


class DlaCensus(NamedTuple):
    """What the builder placed where, in its own words."""

    on_dla: list[str]
    on_gpu: list[str]
    fell_back: list[str]


def summary(text: str) -> Summary:
    """The performance summary of a run; empty where there is none."""
    medians = {found.group(1): float(found.group(5)) for found in _LINE.finditer(text)}
    return Summary(medians, _number(_THROUGHPUT, text))


def built_in_s(text: str) -> float | None:
    """Seconds that the build took, as trtexec says."""
    return _number(_BUILT, text)


def context_memory_mb(text: str) -> float | None:
    """Device memory of the execution context in MiB (10.x and later print it)."""
    return _number(_CONTEXT, text)


def graph_refused(text: str) -> bool:
    """Whether the engine ran without the CUDA graph that was asked for."""
    return GRAPH_REFUSED in text or GRAPH_IMPOSSIBLE in text


def timing_cache_refused(text: str) -> bool:
    """Whether the timing cache was of another device or version, and was not used."""
    for line in text.splitlines():
        low = line.lower()
        if "cache" in low and ("different device" in low or "different version" in low or "mismatch" in low):
            return True
    return False


def dla_census(text: str) -> DlaCensus:
    """Layers on DLA and GPU, and those that had to leave the DLA."""
    on_dla = re.findall(r"\[DlaLayer\] (.+)", text)
    on_gpu = re.findall(r"\[GpuLayer\] (.+)", text)
    fell_back = _ON_GPU.findall(text) + _SWITCHED.findall(text)
    return DlaCensus([x.strip() for x in on_dla], [x.strip() for x in on_gpu], list(dict.fromkeys(fell_back)))


def passed(done: Finished) -> bool:
    """Only the end marker and exit code 0 count: a run that was killed may have printed its summary."""
    return done.code == 0 and "&&&& PASSED" in done.text


def failure(done: Finished, phase: str, program: str = "trtexec") -> Fault:
    """Why trtexec, or a program that uses TensorRT, failed. The order matters: causes come before what follows."""
    text = done.text
    last = first_error(text)
    if "No space left on device" in text:
        message = f"no space left on the board's disk in phase '{phase}'"
        return Fault("disk_full", message, phase=phase, fix=FULL_DISK_FIX)
    node = _NODE.search(text)
    unknown = _without_importer(text)
    if unknown or "Plugin not found" in text:
        op = unknown or (node.group(1) if node else "unknown")
        where = f" (output '{node.group(2)}')" if node else ""
        return Fault("unsupported_operator", f"operator {op}{where} is not known to this TensorRT", op=op)
    found = _VERSIONS.search(text)
    if found or "is not compatible with this version of TensorRT" in text:
        return Fault("engine_other_version", "the engine was built by another TensorRT: " + last)
    if _COMPUTES.search(text) or "generated on an incompatible device" in text:
        return Fault("engine_other_module", "the engine was built on another GPU: " + last)
    if any(sign in text for sign in _MEMORY):
        return Fault("out_of_memory", f"not enough memory on the board in phase '{phase}': {last}", phase=phase)
    if done.code in (-9, 137):
        message = "{} was killed (SIGKILL) in phase '{}': most often by the kernel, out of memory"
        return Fault("killed", message.format(program, phase), phase=phase)
    kernel = _NO_KERNEL.search(text)
    if kernel:
        message = f"TensorRT has no implementation of node {kernel.group(1).strip()} in phase '{phase}'"
        return Fault("no_implementation", message, phase=phase, node=kernel.group(1).strip())
    if "Cannot create DLA engine" in text or "is not supported on DLA" in text:
        return Fault("dla_unavailable", "the DLA does not take it: " + last)
    found = _UNKNOWN_FLAG.search(text)
    if found:
        message = "trtexec does not know {}: its version is not the one it says, or is not known yet"
        return Fault("unknown_version", message.format(found.group(1)))
    if "Engine deserialization failed" in text or "Error opening engine file" in text:
        return Fault("engine_unreadable", "the engine cannot be loaded: " + last)
    message = "{} ended with code {} in phase '{}': {}"
    return Fault("trtexec_failed", message.format(program, done.code, phase, last), phase=phase)


def _without_importer(text: str) -> str:
    """The operator whose import failed: the first without an importer that no plugin stood in for.

    Both lines come before a plugin is made, so a log that ends early blames the last one that was tried.
    """
    made = set(_PLUGIN.findall(text))
    return next((op for op in _IMPORTER.findall(text) if op not in made), "")


def first_error(text: str) -> str:
    """The first error line, else the last line: what came first is the cause more often than what came last.

    TensorRT's logger in Python has `[TRT]` before the severity.
    """
    lines = [line.strip() for line in text.splitlines() if re.match(r"\[[^\]]*\] (?:\[TRT\] )?\[[EF]\]", line)]
    tail = text.strip().splitlines()
    return lines[0] if lines else (tail[-1].strip() if tail else "no output")


def _number(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    try:
        return float(found.group(1)) if found else None
    except ValueError:
        return None
