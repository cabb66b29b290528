"""Command lines of trtexec by version. Pure functions: a flag is written only for a version that has it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bevlite.agent.fault import Fault
from bevlite.agent.trtexec.versions import TensorRT

_PATH = re.compile(r"/(?:[^/,:=]+/)*([^/,:=]+)")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Build:
    """What an engine is built from and how. `workspace_mb` in MiB; `quantized` counts layers between Q/DQ nodes."""

    precision: str = "fp16"
    strongly_typed: bool = False
    quantized: int = 0
    calibration: str | None = None
    workspace_mb: int = 2048
    optimization_level: int | None = None
    dla_core: int | None = None


@dataclass(frozen=True)
class Run:
    """One run of an engine. Times in ms and s as trtexec takes them."""

    warmup_ms: int = 500
    duration_s: float = 10.0
    queries: int = 200
    cuda_graph: bool = True
    transfers: bool = False
    inputs: dict[str, str] = field(default_factory=dict)


def build_flags(version: TensorRT, build: Build) -> tuple[list[str], list[str]]:
    """The flags that decide what the engine is, and what of the request the version does not have.

    Raises:
        Fault: `bad_request` for a request that the version would answer with another engine than asked;
            `dla_unavailable` where the version has no DLA.
    """
    _refuse(version, build)
    notes = []
    flags = [f"--memPoolSize=workspace:{build.workspace_mb}"]
    if version.major < 11:
        if build.strongly_typed:
            flags.append("--stronglyTyped")
        elif build.precision != "fp32":
            flags.append("--fp16")
            if build.precision == "int8":
                flags.append("--int8")
            if build.calibration:
                flags.append("--calib=" + build.calibration)
    if build.optimization_level is not None:
        if version[:2] >= (8, 6):
            flags.append(f"--builderOptimizationLevel={build.optimization_level}")
        else:
            notes.append(f"optimisation level not set: TensorRT {version.text} has none")
    if build.dla_core is not None:
        # One value of --memPoolSize holds all pools.
        flags[0] += ",dlaSRAM:1"
        flags += [f"--useDLACore={build.dla_core}", "--allowGPUFallback"]
        if version[:2] >= (11, 4):
            flags += ["--adjustForDLA", "--reportCapabilityDLA"]
    return flags, notes


def build_command(
    trtexec: str, version: TensorRT, build: Build, onnx: str, engine: str, layers: str, timing_cache: str
) -> list[str]:
    """Build `onnx` into `engine` and write what its layers became to `layers` (raises Fault, see `build_flags`)."""
    flags, _ = build_flags(version, build)
    return [
        trtexec,
        "--onnx=" + onnx,
        "--saveEngine=" + engine,
        *flags,
        "--timingCacheFile=" + timing_cache,
        "--profilingVerbosity=detailed",
        "--exportLayerInfo=" + layers,
        "--skipInference" if version[:2] >= (8, 6) else "--buildOnly",
    ]


def run_command(trtexec: str, version: TensorRT, engine: str, run: Run, times: str) -> list[str]:
    """Run an engine and write the times of every query to `times`."""
    return [
        trtexec,
        "--loadEngine=" + engine,
        f"--warmUp={run.warmup_ms}",
        f"--duration={run.duration_s:g}",
        f"--iterations={run.queries}",
        *_way(version, run.cuda_graph, run.transfers),
        *_inputs(run.inputs),
        "--exportTimes=" + times,
    ]


def profile_command(trtexec: str, version: TensorRT, engine: str, run: Run, profile: str) -> list[str]:
    """Run an engine with the time of every layer written to `profile`. Its total is not a latency."""
    command = [
        trtexec,
        "--loadEngine=" + engine,
        f"--duration={run.duration_s:g}",
        f"--iterations={run.queries}",
        *_way(version, False, False),
        *_inputs(run.inputs),
    ]
    if version.major < 11:  # without it the summary would be missing; 11 knows it no more
        command.append("--separateProfileRun")
    return [*command, "--dumpProfile", "--exportProfile=" + profile]


def outputs_command(trtexec: str, version: TensorRT, engine: str, inputs: dict[str, str], outputs: str) -> list[str]:
    """Run an engine once and write its outputs to `outputs`; they must be copied back, so with transfers."""
    return [*_once(trtexec, version, engine, inputs), "--exportOutput=" + outputs]


def raw_outputs_command(trtexec: str, version: TensorRT, engine: str, inputs: dict[str, str]) -> list[str]:
    """Run an engine once and write its bindings as raw files into the working folder (8.6 and later)."""
    return [*_once(trtexec, version, engine, inputs), "--dumpRawBindingsToFile"]


def _once(trtexec: str, version: TensorRT, engine: str, inputs: dict[str, str]) -> list[str]:
    return [
        trtexec,
        "--loadEngine=" + engine,
        "--warmUp=0",
        "--duration=0",
        "--iterations=1",
        *_way(version, False, True),
        *_inputs(inputs),
    ]


def shown(command: list[str]) -> list[str]:
    """A command for a report: files by their names alone, because paths of the board's cache say nothing."""
    return [_PATH.sub(r"\1", word) for word in command]


def _way(version: TensorRT, cuda_graph: bool, transfers: bool) -> list[str]:
    """CUDA graph, busy waiting and transfers: TensorRT 11 turned the defaults round."""
    if version.major >= 11:
        flags = [] if cuda_graph else ["--noCudaGraph"]
        return flags + (["--includeDataTransfers"] if transfers else [])
    flags = ["--useSpinWait"] + (["--useCudaGraph"] if cuda_graph else [])
    return flags + ([] if transfers else ["--noDataTransfers"])


def _inputs(files: dict[str, str]) -> list[str]:
    for name in files:
        if "," in name or ":" in name:
            raise Fault("bad_request", f"input '{name}': trtexec cannot load a tensor with ',' or ':' in its name")
    return ["--loadInputs=" + ",".join("{}:{}".format(*item) for item in files.items())] if files else []


def _refuse(version: TensorRT, build: Build) -> None:
    def bad(message: str) -> None:
        raise Fault("bad_request", f"TensorRT {version.text}: {message}")

    if build.precision not in PRECISIONS:
        bad("precision: found '{}'; accepted: {}".format(build.precision, ", ".join(PRECISIONS)))
    if build.strongly_typed and version.major < 10:
        bad("a graph that carries its precision (strong emission) was given; accepted: the weak emission")
    if version.major >= 11 and not build.strongly_typed and build.precision != "fp32":
        bad(f"{build.precision} asked of an FP32 graph, which it builds as FP32; accepted: the strong emission")
    if build.precision == "int8" and not build.quantized:
        if build.calibration is None:
            bad("int8 asked of a graph without Q/DQ nodes; accepted: a quantised graph, or a calibration cache")
        if version.major >= 11 or build.strongly_typed:
            bad("a calibration cache was given to a strongly typed build; accepted: a graph with Q/DQ nodes")
    if build.dla_core is not None:
        if not version.has_dla:
            raise Fault("dla_unavailable", f"TensorRT {version.text} has no DLA (8.5 to 10.7 and 11.4 have)")
        if build.precision == "fp32":
            bad("fp32 asked of a DLA; accepted: fp16 or int8")
        if build.quantized and version.major < 11:
            bad("a DLA takes no Q/DQ graph before 11; accepted: the graph without them and a calibration cache")
