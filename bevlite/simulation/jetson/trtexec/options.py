"""What a command line of trtexec asks for, by the rules of its release."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.trtexec.flags import FlagError


def _pairs(value: str, separator: str = ":") -> dict[str, str]:
    """`name:value,name:value`; names may hold the separator."""
    out = {}
    for part in filter(None, value.split(",")):
        name, found, rest = part.rpartition(separator)
        if not found:
            raise FlagError(f"Invalid value: {part}")
        out[name.strip("'")] = rest
    return out


@dataclass
class Options:
    """One run of trtexec."""

    onnx: Path | None
    load_engine: Path | None
    save_engine: Path | None
    fp16: bool
    int8: bool
    best: bool
    strongly_typed: bool
    calibration: Path | None
    layer_precisions: dict[str, str]
    precision_constraints: str
    shapes: dict[str, tuple[int, ...]]
    workspace_mib: float | None
    timing_cache: Path | None
    detailed: bool
    build_only: bool
    skip_name: str
    optimisation_level: int
    dla_core: int | None
    gpu_fallback: bool
    warm_up_ms: float
    duration_s: float
    iterations: int
    average_runs: int
    percentiles: list[float]
    streams: int
    cuda_graph: bool
    spin_wait: bool
    transfers: bool
    expose_dma: bool
    separate_profile: bool
    dump_profile: bool
    export_times: Path | None
    export_profile: Path | None
    export_output: Path | None
    export_layer_info: Path | None
    dump_layer_info: bool
    dump_output: bool
    dump_raw: bool
    no_tf32: bool
    verbose: bool
    plan_version_only: bool
    deprecated: list[str] = field(default_factory=list)
    load_inputs: dict[str, Path] = field(default_factory=dict)
    input_formats: list[str] = field(default_factory=list)
    output_formats: list[str] = field(default_factory=list)

    @property
    def profiles_inline(self) -> bool:
        """Whether the timed run itself is profiled, which leaves no performance summary up to 10.x."""
        return (self.dump_profile or self.export_profile is not None) and not self.separate_profile


def _shapes(given: dict[str, list[str]]) -> dict[str, tuple[int, ...]]:
    value = (given.get("--shapes") or given.get("--optShapes") or [""])[-1]
    try:
        return {n: tuple(int(d) for d in dims.split("x")) for n, dims in _pairs(value).items()}
    except ValueError:
        raise FlagError(f"Invalid shapes: {value}") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FlagError("stof") from None


def _workspace(given: dict[str, list[str]], release: Release) -> float | None:
    if "--workspace" in given:
        return _number(given["--workspace"][-1])
    pools = _pairs(given.get("--memPoolSize", [""])[-1])
    value = pools.get("workspace")
    if value is None:
        return None
    scale = {"B": 2.0**-20, "K": 2.0**-10, "M": 1.0, "G": 1024.0}
    if release.major >= 10 and value[-1:] in scale:
        return _number(value[:-1]) * scale[value[-1]]
    return _number(value)


def read_options(given: dict[str, list[str]], release: Release) -> Options:
    """Options from parsed flags.

    Raises:
        FlagError: values or combinations that trtexec refuses.
    """

    def on(*names: str) -> bool:
        return any(name in given for name in names)

    def text(name: str, default: str = "") -> str:
        return given.get(name, [default])[-1]

    def path(name: str) -> Path | None:
        return Path(text(name)) if text(name) else None

    newest = release.major >= 11
    if on("--best") and on("--stronglyTyped"):
        raise FlagError("Strongly typed and best cannot be set together")
    if on("--fp8") and on("--int8"):
        raise FlagError("Invalid usage, fp8 and int8 aren't allowed to be enabled together.")
    if path("--onnx") is None and path("--loadEngine") is None:
        raise FlagError("Model missing or format not recognized")
    if _number(text("--duration", "3")) < 0:
        raise FlagError("emulated runs are not endless: --duration must not be negative")
    deprecated = ["--noDataTransfers", "--useSpinWait", "--useCudaGraph", "--separateProfileRun"] if newest else []
    return Options(
        onnx=path("--onnx") if path("--loadEngine") is None else None,
        load_engine=path("--loadEngine"),
        save_engine=path("--saveEngine"),
        fp16=on("--fp16", "--best"),
        int8=on("--int8", "--best"),
        best=on("--best"),
        strongly_typed=newest or on("--stronglyTyped"),
        calibration=path("--calib"),
        layer_precisions=_pairs(text("--layerPrecisions")),
        precision_constraints=text("--precisionConstraints", "none"),
        shapes=_shapes(given),
        workspace_mib=_workspace(given, release),
        timing_cache=path("--timingCacheFile"),
        detailed=text("--profilingVerbosity") in ("detailed", "verbose"),
        build_only=on("--buildOnly", "--skipInference"),
        skip_name="--skipInference" if release.number >= 8600 else "--buildOnly",
        optimisation_level=int(text("--builderOptimizationLevel", "3")),
        dla_core=int(text("--useDLACore")) if on("--useDLACore") else None,
        gpu_fallback=on("--allowGPUFallback"),
        warm_up_ms=float(text("--warmUp", "200")),
        duration_s=float(text("--duration", "3")),
        iterations=int(text("--iterations", "10")),
        average_runs=max(1, int(text("--avgRuns", "10"))),
        percentiles=[_number(p) for p in text("--percentile", "90,95,99").split(",")],
        streams=int(text("--infStreams", text("--streams", "1"))),
        cuda_graph=not on("--noCudaGraph") if newest else on("--useCudaGraph"),
        spin_wait=not on("--noSpinWait") if newest else on("--useSpinWait"),
        transfers=on("--includeDataTransfers") if newest else not on("--noDataTransfers"),
        expose_dma=on("--exposeDMA"),
        separate_profile=newest or on("--separateProfileRun"),
        dump_profile=on("--dumpProfile"),
        export_times=path("--exportTimes"),
        export_profile=path("--exportProfile"),
        export_output=path("--exportOutput"),
        export_layer_info=path("--exportLayerInfo"),
        dump_layer_info=on("--dumpLayerInfo"),
        dump_output=on("--dumpOutput"),
        dump_raw=on("--dumpRawBindingsToFile"),
        no_tf32=on("--noTF32"),
        verbose=on("--verbose"),
        plan_version_only=on("--getPlanVersionOnly"),
        deprecated=[name for name in deprecated if on(name)],
        input_formats=[f for f in text("--inputIOFormats").split(",") if f],
        output_formats=[f for f in text("--outputIOFormats").split(",") if f],
        load_inputs={n: Path(f) for n, f in _pairs(text("--loadInputs")).items()},
    )
