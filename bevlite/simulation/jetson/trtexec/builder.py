"""Parse, fuse, time tactics, make a plan: the build phase of trtexec."""

from __future__ import annotations

import random
import time
from typing import Any

import onnx

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.gpu_use import using_gpu
from bevlite.simulation.jetson.modules import COMPUTE_CAPABILITY
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.timing.fusion import fuse
from bevlite.simulation.jetson.timing.graph import Graph, read_graph
from bevlite.simulation.jetson.timing.roofline import ELEMENT_BYTES
from bevlite.simulation.jetson.trtexec import build_checks, dla, importer, timing_cache
from bevlite.simulation.jetson.trtexec.bindings import bind, reformats
from bevlite.simulation.jetson.trtexec.layer_info import describe, layer_name
from bevlite.simulation.jetson.trtexec.log import Log, number
from bevlite.simulation.jetson.trtexec.options import Options
from bevlite.simulation.jetson.trtexec.plan import Plan
from bevlite.simulation.jetson.trtexec.precision import assign, output_noise
from bevlite.simulation.jetson.trtexec.waiting import wait

NO_GRAPH = frozenset({"NonZero", "NonMaxSuppression", "Loop", "If", "Scan", "CumSum"})
BUILD_BASE_S, BUILD_LAYER_S, CACHED_LAYER_S = 6.0, 1.1, 0.06
LEVEL_COST = {0: 0.15, 1: 0.35, 2: 0.7, 3: 1.0, 4: 1.8, 5: 3.0}


def build(log: Log, board: BoardFolder, options: Options, release: Release) -> Plan:
    """Build an engine; waits as long as the real builder would, times the board's time scale.

    Raises:
        Failure: whatever stops the real builder, and the faults of this phase.
        FlagError: an I/O format that trtexec does not know.
    """
    assert options.onnx is not None
    _print_memory(log, cpu=30, gpu=1957)
    began = time.perf_counter()
    model = build_checks.load_model(options.onnx)
    build_checks.check_names(log, options, model)
    graph = read_graph(model, options.shapes)
    importer.check(log, graph, release, options.onnx, time.perf_counter() - began)
    build_checks.check_types(log, graph, options, release)
    calibrated = build_checks.calibration(options, graph)
    layers = fuse(graph)
    names = [layer_name(layer) for layer in layers]
    precisions = assign(graph, layers, options, calibrated)
    if board.faults.take("fp32_engine") is not None:
        precisions = ["Float"] * len(layers)
    devices = dla.place(log, graph, layers, names, options, release)
    described = [describe(graph, *entry) for entry in zip(layers, names, precisions, devices, strict=True)]
    inputs, outputs = bind(graph, options, release)
    known = timing_cache.load(log, board, release, options.timing_cache)
    keys = {timing_cache.key_of(n) for n in described}
    log.library(f"Detected {len(inputs)} inputs and {len(outputs)} output network tensors.")
    seconds = _build_seconds(board, options, keys, known)
    with using_gpu(board, "trtexec", gpu=0.55, memory=0.3, memory_mib=2600):
        wait(board, seconds, "build")
        build_checks.check_memory(log, board, options, layers, names)
    before, after = reformats(graph, layers, described, inputs, outputs)
    plan = _plan(board, options, release, graph, [*before, *described, *after], model)
    plan.inputs, plan.outputs = inputs, outputs
    plan.noise = output_noise(precisions, graph.has_quantizers, calibrated is not None)
    plan.capturable = not any(n.op in NO_GRAPH for n in graph.nodes) and "DLA" not in devices
    _print_built(log, release, plan, seconds)
    timing_cache.save(log, board, release, options.timing_cache, known | keys)
    return plan


def _print_memory(log: Log, cpu: int, gpu: int) -> None:
    log.library(f"[MemUsageChange] Init CUDA: CPU +{cpu}, GPU +0, now: CPU {cpu + 7}, GPU {gpu} (MiB)")
    log.library(
        f"[MemUsageChange] Init builder kernel library: CPU +{cpu * 5}, GPU +{cpu * 4}, "
        f"now: CPU {cpu * 6}, GPU {gpu + cpu * 4} (MiB)"
    )


def _build_seconds(board: BoardFolder, options: Options, keys: set[str], known: set[str]) -> float:
    tactics = 1.0 + 0.5 * options.fp16 + 0.7 * options.int8
    clock = board.module.max_gpu_mhz / board.mode.gpu_mhz
    new = len(keys - known) * BUILD_LAYER_S * tactics * LEVEL_COST.get(options.optimisation_level, 1.0)
    return (BUILD_BASE_S + new + len(keys & known) * CACHED_LAYER_S) * clock * random.uniform(0.97, 1.03)


def _plan(
    board: BoardFolder,
    options: Options,
    release: Release,
    graph: Graph,
    layers: list[dict[str, Any]],
    model: onnx.ModelProto,
) -> Plan:
    half = any(n["precision"] != "Float" for n in layers)
    weights = sum(n["work"]["weights"] * ELEMENT_BYTES[n["precision"]] for n in layers)
    widest = max(graph.elements(name) for name in graph.tensors)
    return Plan(
        version=release.plan_version,
        capability=COMPUTE_CAPABILITY,
        device=board.module.name,
        mode=board.mode.name,
        detailed=options.detailed,
        layers=layers,
        inputs=[],
        outputs=[],
        noise=0.0,
        capturable=True,
        size_mib=weights / 2**20 * 1.04 + 0.02 * len(layers),
        activation_mib=3 * widest * ELEMENT_BYTES["Half" if half else "Float"] / 2**20,
        model=model.SerializeToString(),
    )


def _print_built(log: Log, release: Release, plan: Plan, seconds: float) -> None:
    unit = " bytes" if release.major >= 10 else ""
    log.library(
        f"Total Host Persistent Memory: {len(plan.layers) * 3328}{unit}",
        f"Total Device Persistent Memory: {len(plan.layers) * 512}{unit}",
        f"Total Scratch Memory: {int(plan.activation_mib * 2**18)}{unit}",
    )
    if release.number >= 8600:
        log.library(f"Engine generation completed in {number(seconds * 0.98)} seconds.")
    peak = int(plan.size_mib * 2 + 116)
    log.library(
        f"[MemUsageStats] Peak memory usage of TRT CPU/GPU memory allocators: CPU {peak} MiB, "
        f"GPU {int(plan.activation_mib + plan.size_mib + 4)} MiB"
    )
    log.info(f"Engine built in {number(seconds)} sec.")
    if release.major >= 10:
        log.info(f"Created engine with size: {number(plan.size_mib)} MiB")
