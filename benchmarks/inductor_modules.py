"""One module through torch's compiler: compiled, tuned, captured in a CUDA graph and timed.

Small modules are captured several times in a row in one graph (`calls_per_replay`), so that `ms` is what the module
costs inside a larger graph, without the launch of the graph itself; `single_call_ms` is a graph of one call, its launch
included. Inputs, weights and intermediate maps stay where they lie: what fits the L2 cache is found there by the next
call.
"""

from __future__ import annotations

import gc
import json
import math
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuda_graphs import capture, capture_stream, events_ms, replay_ms
from gpu_ceilings import sm_clock_mhz
from gpu_lock import GPULock
from measured_rows import Row, one_line, spread

if TYPE_CHECKING:
    # Loading torch takes seconds: at run time the parent process starts the workers before it does so itself.
    from modules import ModuleSpec


GROUPS = 24
TIMED_MS, TIMED_REPLAYS = 200.0, 300
SINGLE_MS, SINGLE_REPLAYS, SINGLE_GROUPS = 40.0, 100, 8
GRAPH_MS, GRAPH_CALLS = 0.5, 200
WARM_MS = 40.0
WARM_SIZE = 4096
TUNED_CALLS, TUNED_REPLAYS = 10, 8
SPILLS = 16  # registers that a configuration may spill, where the compiler says nothing else
PROFILED = 5  # replays whose kernels are traced
TRACED = ("kernel", "gpu_memcpy", "gpu_memset")


class Compiled:
    """One module compiled and on its device; the lock is held from the end of the compilation on."""

    def __init__(self, spec: ModuleSpec, lock: GPULock, device: str) -> None:
        import modules
        import torch
        from torch._inductor.compile_fx import compile_fx

        module, inputs = modules.build(spec)
        self.cuda = device == "cuda"
        dtype = torch.float16 if self.cuda else torch.float32
        lock.acquire()
        if self.cuda:
            torch.cuda.empty_cache()  # of the module before
            torch.backends.cudnn.benchmark = True
            torch._inductor.config.max_autotune_pointwise = True
            _tune_in_place()
        torch._inductor.config.freezing = True  # folds BatchNorm into the weights, as every engine builder does
        module = module.to(device=device, dtype=dtype)
        if spec.channels_last:
            module = module.to(memory_format=torch.channels_last)
        self.inputs = tuple(self._place(value, device, dtype, spec) for value in inputs)
        if self.cuda:
            torch.cuda.synchronize()
        lock.release()

        def backend(graph: Any, examples: Any) -> Any:
            function = compile_fx(graph, examples)
            lock.acquire()  # what follows runs on the GPU
            return function

        _lock_freezing(lock)
        self.module = torch.compile(module, backend=backend, dynamic=False)

    @staticmethod
    def _place(value: Any, device: str, dtype: Any, spec: ModuleSpec) -> Any:
        import torch

        value = value.to(device=device, dtype=dtype) if value.is_floating_point() else value.to(device)
        # pillars come from outside the network, in the layout of their file
        inside = spec.channels_last and value.dim() == 4 and spec.family not in ("lidar", "pillars", "variant")
        return value.contiguous(memory_format=torch.channels_last) if inside and value.is_floating_point() else value

    def __call__(self) -> Any:
        return self.module(*self.inputs)


def _lock_freezing(lock: GPULock) -> None:
    """Folding constants runs on the GPU in the middle of a compilation: not while another module is timed."""
    from torch._inductor import constant_folding, freezing
    from torch._inductor.fx_passes import freezing_patterns

    fold = getattr(constant_folding.constant_fold, "unlocked", constant_folding.constant_fold)

    def locked(*arguments: Any, **options: Any) -> Any:
        lock.acquire()
        try:
            return fold(*arguments, **options)
        finally:
            lock.synchronize_and_release()

    locked.unlocked = fold  # type: ignore[attr-defined]
    for module in (constant_folding, freezing, freezing_patterns):
        if hasattr(module, "constant_fold"):
            module.constant_fold = locked


def _tune_in_place() -> None:
    """Choose the configuration of a generated kernel as it will run: in a CUDA graph, its data where it lies.

    The compiler times each configuration with an emptied cache, and with the copies that it makes of what a kernel
    overwrites: of kernels that differ by half of their time in a graph, now this one is chosen and now that one.
    """
    import torch
    from torch._inductor.runtime.triton_heuristics import CachingAutotuner

    def in_place(self: Any, launcher: Any, *arguments: Any, with_profiler: bool = False, **named: Any) -> float:
        limit = self.inductor_meta.get("spill_threshold", SPILLS)
        if not self.custom_kernel and launcher.n_spills is not None and launcher.n_spills > limit:
            return float("inf")  # as the compiler does
        values, options = self.clone_args(*arguments, **named)
        torch.cuda.synchronize()
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):

            def call() -> None:
                launcher(*values, **options, stream=stream.cuda_stream)

            call()
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            graph.capture_begin(capture_error_mode="thread_local")
            for _ in range(TUNED_CALLS):
                call()
            graph.capture_end()
            return min(events_ms(graph.replay) for _ in range(TUNED_REPLAYS)) / TUNED_CALLS

    CachingAutotuner.bench = in_place


def _warm_up() -> None:
    """Raise the clocks: what is chosen by its time in the first call must not be timed at others."""
    import torch

    square = torch.ones(WARM_SIZE, WARM_SIZE, dtype=torch.float16, device="cuda")
    spent_ms = 0.0
    while spent_ms < WARM_MS:
        spent_ms += events_ms(lambda: square @ square)


def measure_inductor(spec: ModuleSpec, lock: GPULock, device: str) -> Row:
    """Compile, capture and time one module."""
    import torch

    started = time.perf_counter()
    torch._dynamo.reset()
    try:
        with torch.no_grad():
            run = Compiled(spec, lock, device)
            if device == "cuda":
                _warm_up()
            outputs = run()
            row: Row = {"id": spec.id, "family": spec.family}
            row["compile_s"] = f"{time.perf_counter() - started:.1f}"
            row["finite"] = "yes" if _finite(outputs) else "no"
            del outputs
            row |= _time_cuda(run) if device == "cuda" else _time_cpu(run)
    finally:
        run = None  # type: ignore[assignment]
        if device == "cuda":
            torch.cuda.synchronize()
        lock.release()
        gc.collect()
    return row


def _finite(outputs: Any) -> bool:
    import torch

    values = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return all(bool(torch.isfinite(v).all()) for v in values if v.is_floating_point())


def _time_cpu(run: Compiled) -> Row:
    """A stand-in without a GPU, to rehearse everything else."""
    times = []
    for _ in range(GROUPS):
        started = time.perf_counter()
        run()
        times.append((time.perf_counter() - started) * 1e3)
    return spread(times) | {"replays": GROUPS, "calls_per_replay": 1}


def _time_cuda(run: Compiled) -> Row:
    import torch

    with torch.cuda.stream(capture_stream()):  # libraries choose and load their kernels before the capture
        for _ in range(2):
            run()
    torch.cuda.synchronize()
    try:
        single = capture(run, 1, keep=True)
        row = _graph_nodes(single)
    except Exception:  # the nodes are worth less than the time
        torch.cuda.synchronize()
        single, row = capture(run, 1), {}
    estimate = statistics.median(replay_ms(single, 5, 2))
    replays = max(1, math.ceil(min(SINGLE_REPLAYS, SINGLE_MS / estimate) / SINGLE_GROUPS))
    single_ms = statistics.median(replay_ms(single, SINGLE_GROUPS, replays))
    calls = max(1, min(GRAPH_CALLS, math.ceil(GRAPH_MS / single_ms)))
    graph = capture(run, calls) if calls > 1 else single
    graph_ms = statistics.median(replay_ms(graph, 3, 1))
    replay_ms(graph, 1, max(1, math.ceil(WARM_MS / graph_ms)))
    replays = _per_group(graph_ms)
    row["sm_mhz_before"] = sm_clock_mhz()
    times = [t / calls for t in replay_ms(graph, GROUPS, replays)]
    row["sm_mhz_after"] = sm_clock_mhz()
    row |= {"replays": GROUPS * replays, "calls_per_replay": calls, "single_call_ms": f"{single_ms:.6g}"}
    row["kernel_times"] = _kernel_times(single)
    return row | spread(times)


def _kernel_times(graph: Any) -> list[tuple[str, float]]:
    """The kernels of one replay in order, each with its median microseconds over a few replays; empty if not traced."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    try:
        with profile(activities=[ProfilerActivity.CUDA]) as trace:
            for _ in range(PROFILED):
                graph.replay()
            torch.cuda.synchronize()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "trace.json"
            trace.export_chrome_trace(str(file))
            events = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    except Exception as error:  # the time of the module is what counts
        return [(f"not traced: {one_line(error)}", 0.0)]
    found = sorted((e["ts"], e["name"], e["dur"]) for e in events if e.get("cat") in TRACED)
    count = len(found) // PROFILED
    if count * PROFILED != len(found):
        return [(f"not traced: {len(found)} kernels in {PROFILED} replays", 0.0)]
    runs = [found[i * count : (i + 1) * count] for i in range(PROFILED)]
    return [(k[0][1][:200], round(statistics.median(float(d) for _, _, d in k), 3)) for k in zip(*runs, strict=True)]


def _per_group(replay_ms: float) -> int:
    return max(1, math.ceil(min(TIMED_REPLAYS, TIMED_MS / replay_ms) / GROUPS))


def _graph_nodes(graph: Any) -> Row:
    """Kernels of a captured graph, counted and named, and its other nodes (copies, fills)."""
    try:
        from cuda.bindings import driver

        def call(result: tuple[Any, ...]) -> Any:
            if result[0] != driver.CUresult.CUDA_SUCCESS:
                raise RuntimeError(str(result[0]))
            return result[1] if len(result) == 2 else result[1:]

        raw = driver.CUgraph(int(graph.raw_cuda_graph()))
        count = call(driver.cuGraphGetNodes(raw))[1]
        nodes = call(driver.cuGraphGetNodes(raw, count))[0][:count]
        names: Counter[str] = Counter()
        others = 0
        for node in nodes:
            kind = call(driver.cuGraphNodeGetType(node))
            if kind != driver.CUgraphNodeType.CU_GRAPH_NODE_TYPE_KERNEL:
                others += 1
                continue
            parameters = call(driver.cuGraphKernelNodeGetParams(node))
            function, kernel = parameters.func, parameters.kern
            by_function = function is not None and int(function) != 0
            name = driver.cuFuncGetName(function) if by_function else driver.cuKernelGetName(kernel)
            names[call(name).decode()[:200]] += 1
        return {"kernels": sum(names.values()), "other_graph_nodes": others, "kernel_names": dict(names)}
    except Exception as error:  # a count that cannot be had must not cost the measurement
        return {"kernels": "", "kernel_names": {f"not read: {type(error).__name__}: {error}"[:300]: 0}}
