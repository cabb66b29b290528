"""The timed run of trtexec: times from the model, really waited for, and the load on the board meanwhile."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass

import numpy as np

from bevlite.simulation.jetson import store, sysfs
from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.gpu_use import using_gpu
from bevlite.simulation.jetson.releases import Release
from bevlite.simulation.jetson.telemetry import IDLE_GPU_MHZ, RAMP_S, THROTTLED
from bevlite.simulation.jetson.timing.noise import query_times_ms
from bevlite.simulation.jetson.timing.roofline import Work, binding_bytes, layer_ms, transfer_ms
from bevlite.simulation.jetson.trtexec.dla import SLOWER
from bevlite.simulation.jetson.trtexec.log import Log, number
from bevlite.simulation.jetson.trtexec.options import Options
from bevlite.simulation.jetson.trtexec.plan import Plan
from bevlite.simulation.jetson.trtexec.profile import LayerTimes, profile_layers
from bevlite.simulation.jetson.trtexec.trace import Trace, lay_out
from bevlite.simulation.jetson.trtexec.waiting import wait

ENQUEUE_MS = {True: 0.018, False: 0.03}
ENQUEUE_LAYER_MS = 0.0042
NOT_PERMITTED = "The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode."
REFUSED = (
    NOT_PERMITTED,
    "The specified --useCudaGraph flag has been ignored. "
    "The inference will be launched without using CUDA graph launch.",
)
REFUSED_FROM_11 = (
    NOT_PERMITTED,
    "CUDA graph capture failed. The inference will be launched without using CUDA graph.",
)
THROTTLES_AT = 0.5
"""Share of a run after which the fault `throttling` lowers the clock."""


@dataclass(frozen=True)
class Execution:
    """An engine made ready to run.

    Attributes:
        layer_ms: of each layer, alone on the GPU.
        slowed: how many times slower everything is because others use the GPU.
    """

    plan: Plan
    layer_ms: list[float]
    cuda_graph: bool
    slowed: float
    source: np.random.Generator

    @property
    def base_ms(self) -> float:
        """GPU time of one query."""
        return sum(self.layer_ms) * self.slowed


def create_context(log: Log, plan: Plan, release: Release) -> None:
    """What the runtime says when it makes room for the activations."""
    size = plan.activation_mib
    log.library(
        f"[MemUsageChange] TensorRT-managed allocation in IExecutionContext creation: CPU +0, GPU +{round(size)}, "
        f"now: CPU 0, GPU {round(plan.size_mib + size)} (MiB)"
    )
    log.info("Setting persistentCacheLimit to 0 bytes.")
    if release.major >= 10:
        log.info(f"Created execution context with device memory size: {number(size)} MiB")


def new_source(board: BoardFolder) -> np.random.Generator:
    """Random numbers for one run: every run of a board has its own, the same on every board of that seed."""
    with store.changing(board.path / "state.json") as state:
        runs = int(state.get("runs", 0))
        state["runs"] = runs + 1
    return np.random.default_rng([int(board.config["seed"]), runs])


def make_ready(
    log: Log, board: BoardFolder, plan: Plan, options: Options, release: Release, source: np.random.Generator
) -> Execution:
    """Capture a CUDA graph if one is asked for and possible; with it the time of every layer is settled."""
    captured = options.cuda_graph
    if captured:
        log.info("Capturing CUDA graph for the current execution context")
        if board.faults.take("cuda_graph_refused") is not None or not plan.capturable:
            captured = False
            log.warn(*(REFUSED_FROM_11 if release.major >= 11 else REFUSED))
        else:
            log.info("Successfully captured CUDA graph for the current execution context")
    others = sum(load.gpu for load in board.loads())
    return Execution(plan, times_of_layers(board, plan, captured), captured, 1.0 + others, source)


def times_of_layers(board: BoardFolder, plan: Plan, cuda_graph: bool) -> list[float]:
    """Milliseconds of every layer of an engine in the board's power mode."""
    factors, mode = board.truth["factors"], board.mode
    return [
        layer_ms(Work(**n["work"]), n["kind"], n["precision"], mode, factors, cuda_graph)
        * (SLOWER if n["device"] == "DLA" else 1.0)
        for n in plan.layers
    ]


def _transfers(board: BoardFolder, plan: Plan, options: Options) -> tuple[float, float]:
    if not options.transfers:
        return 0.0, 0.0
    sizes = [
        sum(math.prod(t["shape"]) * binding_bytes(t["dtype"]) for t in tensors)
        for tensors in (plan.inputs, plan.outputs)
    ]
    return transfer_ms(sizes[0], board.mode), transfer_ms(sizes[1], board.mode)


def run(board: BoardFolder, execution: Execution, options: Options) -> Trace:
    """Run the warm-up and the timed queries; returns when the emulated time is over."""
    base = execution.base_ms
    h2d, d2h = _transfers(board, execution.plan, options)
    enqueue = ENQUEUE_MS[execution.cuda_graph]
    enqueue += 0.0 if execution.cuda_graph else ENQUEUE_LAYER_MS * len(execution.layer_ms)
    pace = base + h2d + d2h + enqueue if options.expose_dma else max(base, enqueue)
    count = max(options.iterations, math.ceil(options.duration_s * 1000 / pace)) + math.ceil(options.warm_up_ms / pace)
    count += count // 50 + 2  # noise may make queries faster than the pace
    locked = board.clocks_locked
    times = query_times_ms(
        base, count, execution.source, locked, RAMP_S * 1000, min(1.0, IDLE_GPU_MHZ / board.mode.gpu_mhz)
    )
    throttles = board.faults.active("throttling") is not None
    if throttles:
        times[int(len(times) * THROTTLES_AT) :] /= THROTTLED
    began = np.concatenate([[0.0], np.cumsum(np.maximum(times, enqueue))])
    warm_up = int(np.searchsorted(began, options.warm_up_ms))
    needed = np.searchsorted(began, began[warm_up] + options.duration_s * 1000)
    times = times[: max(int(needed), warm_up + options.iterations)]
    warm_up = min(warm_up, len(times) - 1)
    trace = lay_out(times, h2d, d2h, enqueue, warm_up, options.expose_dma)
    seconds = (trace.warm_up_ms + trace.wall_ms) / 1000
    _pass_time(board, execution.plan, base / max(pace, base), seconds, throttles)
    return trace


def _pass_time(board: BoardFolder, plan: Plan, busy: float, seconds: float, throttles: bool) -> None:
    moved = sum(n["work"]["elements"] + n["work"]["weights"] for n in plan.layers) or 1.0
    intensity = sum(n["work"]["flops"] for n in plan.layers) / moved
    memory = min(0.9, 0.15 + 20.0 / (20.0 + intensity))
    occupied = plan.size_mib + plan.activation_mib + 900
    with using_gpu(board, "trtexec", gpu=0.97 * busy, memory=memory, memory_mib=occupied):
        if not throttles:
            wait(board, seconds, "measure")
            return
        wait(board, seconds * THROTTLES_AT, "measure")
        trip(board)
        time.sleep(seconds * (1 - THROTTLES_AT) * board.time_scale)
        (board.path / "throttling").unlink(missing_ok=True)


def trip(board: BoardFolder) -> None:
    """The GPU got too hot: it is slower until this process removes the mark, or ends."""
    store.write_text(board.path / "throttling", str(os.getpid()))
    board.change(oc_events=int(board.state.get("oc_events", 0)) + 1)
    board.faults.take("throttling")
    sysfs.refresh(board)


def run_profiled(board: BoardFolder, execution: Execution, count: int) -> list[LayerTimes]:
    """Run `count` iterations with a clock around every layer, without a CUDA graph."""
    each = [t * execution.slowed for t in times_of_layers(board, execution.plan, cuda_graph=False)]
    layers = profile_layers([n["Name"] for n in execution.plan.layers], each, count, execution.source)
    _pass_time(board, execution.plan, 0.8, sum(n.total for n in layers) / 1000, throttles=False)
    return layers
