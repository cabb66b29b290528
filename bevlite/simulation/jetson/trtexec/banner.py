"""The blocks that trtexec prints before it works: its options, and the device.

Layout: NVIDIA/TensorRT samples/common/sampleOptions.cpp and sampleDevice.cpp at the tags of each release.
"""

from __future__ import annotations

import uuid

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.modules import COMPUTE_CAPABILITY
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.trtexec.log import Log, number
from bevlite.simulation.jetson.trtexec.options import Options


def _on(value: bool) -> str:
    return "Enabled" if value else "Disabled"


def precision_words(options: Options, release: Release) -> str:
    """The value of the line `Precision:`."""
    if release.strongly_typed_only:
        return "Strongly Typed"
    if options.strongly_typed:
        return "Strongly Typed"
    words = "FP32" + "+FP16" * options.fp16 + "+INT8" * options.int8
    note = {"obey": " (obey precision constraints)", "prefer": " (prefer precision constraints)"}
    return words + note.get(options.precision_constraints, "")


def _build_block(log: Log, options: Options, release: Release) -> None:
    if options.load_engine is not None and release.major >= 10:
        return
    pool = "default" if options.workspace_mib is None else f"{number(options.workspace_mib)} MiB"
    extra = ", tacticSharedMem: default" if release.major >= 10 else ""
    log.info("=== Build Options ===")
    if release.major < 10:
        log.info("Max batch: explicit batch")
    log.info(f"Memory Pools: workspace: {pool}, dlaSRAM: default, dlaLocalDRAM: default, dlaGlobalDRAM: default{extra}")
    if release.major < 10:
        log.info("minTiming: 1")
    log.info(
        "avgTiming: 8",
        f"Precision: {precision_words(options, release)}",
        "LayerPrecisions: " + ", ".join(f"{n}:{p}" for n, p in options.layer_precisions.items()),
        f"Calibration: {options.calibration or ('Dynamic' if options.int8 else '')}",
        "Refit: Disabled",
        "Sparsity: Disabled",
        "Safe mode: Disabled",
        f"Save engine: {options.save_engine or ''}",
        f"Load engine: {options.load_engine or ''}",
        f"Profiling verbosity: {2 if options.detailed else 0}",
        "Tactic sources: Using default tactic sources",
        f"timingCacheMode: {'global' if options.timing_cache else 'local'}",
        f"timingCacheFile: {options.timing_cache or ''}",
    )
    if release.number >= 8600:
        log.info(f"Builder optimization level: {options.optimisation_level}")
    log.info("Input(s)s format: fp32:CHW", "Output(s)s format: fp32:CHW")
    log.info()


def print_options(log: Log, options: Options, release: Release) -> None:
    """The blocks of the options."""
    for name in options.deprecated:
        log.warn(f"{name} is deprecated and has no effect: this is the default behavior.")
    log.info(
        "=== Model Options ===",
        f"Format: {'ONNX' if options.onnx else '*'}",
        f"Model: {options.onnx or ''}",
        "Output:",
    )
    _build_block(log, options, release)
    log.info(
        "=== System Options ===",
        "Device: 0",
        f"DLACore: {'' if options.dla_core is None else options.dla_core}",
        "Plugins:",
    )
    if release.number >= 8600:
        log.info("setPluginsToSerialize:", "dynamicPlugins:", "ignoreParsedPluginLibs: 0")
    log.info("", "=== Inference Options ===", "Batch: Explicit")
    if options.shapes:
        log.info(*(f"Input inference shape : {n}={'x'.join(map(str, d))}" for n, d in options.shapes.items()))
    else:
        log.info("Input inference shapes: model")
    log.info(
        f"Iterations: {options.iterations}",
        f"Duration: {number(options.duration_s)}s (+ {number(options.warm_up_ms)}ms warm up)",
        "Sleep time: 0ms",
        "Idle time: 0ms",
        f"Inference Streams: {options.streams}" if release.number >= 8600 else f"Streams: {options.streams}",
        f"ExposeDMA: {_on(options.expose_dma)}",
        f"Data transfers: {_on(options.transfers)}",
        f"Spin-wait: {_on(options.spin_wait)}",
        "Multithreading: Disabled",
        f"CUDA Graph: {_on(options.cuda_graph)}",
        f"Separate profiling: {_on(options.separate_profile)}",
        "",
        "=== Reporting Options ===",
        f"Verbose: {_on(options.verbose)}",
        f"Averages: {options.average_runs} inferences",
        f"Percentiles: {','.join(number(p) for p in options.percentiles)}",
        "Dump refittable layers:Disabled",
        f"Dump output: {_on(options.dump_output)}",
        f"Profile: {_on(options.dump_profile)}",
        f"Export timing to JSON file: {options.export_times or ''}",
        f"Export output to JSON file: {options.export_output or ''}",
        f"Export profile to JSON file: {options.export_profile or ''}",
        "",
    )


def device_uuid(board: BoardFolder) -> str:
    """The GPU's name, the same for the life of the board."""
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, 'emulated-orin-' + str(board.config['seed']))}"


def print_device(log: Log, board: BoardFolder, release: Release) -> None:
    """The block of the device, and the version."""
    mode, clock = board.mode, "Application Compute" if release.number >= 8600 else "Compute"
    log.info("=== Device Information ===")
    if release.major >= 10:
        name = device_uuid(board)
        log.info("Available Devices: ", f'  Device 0: "Orin" UUID: {name}', "Selected Device: Orin")
        log.info("Selected Device ID: 0", f"Selected Device UUID: {name}")
    else:
        log.info("Selected Device: Orin")
    ghz, memory_ghz = number(mode.gpu_mhz / 1000), number(round(mode.gpu_mhz / 1000, 3))
    lines = [f"Compute Capability: {COMPUTE_CAPABILITY}", f"SMs: {mode.tpcs * 2}"]
    clocks = [f"{clock} Clock Rate: {ghz} GHz"]
    size = [
        f"Device Global Memory: {board.module.memory_mib} MiB",
        "Shared Memory per SM: 164 KiB",
        "Memory Bus Width: 256 bits (ECC disabled)",
    ]
    if release.number >= 8600:
        lines += [*size, *clocks, f"Application Memory Clock Rate: {memory_ghz} GHz", ""]
        lines += [
            "Note: The application clock rates do not reflect the actual clock rates that the GPU is currently "
            "running at."
        ]
    else:
        lines += [*clocks, *size, f"Memory Clock Rate: {memory_ghz} GHz"]
    log.info(*lines, "", f"TensorRT version: {release.version}")
