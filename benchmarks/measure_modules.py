"""Measure the modules of modules.py.

    python benchmarks/measure_modules.py --backend inductor --out FILE.csv      # one NVIDIA GPU
    python benchmarks/measure_modules.py --backend onnxruntime --out FILE.csv   # the CPU, the small modules

inductor: fp16, eval, torch.compile with static shapes, BatchNorm folded, pointwise kernels and convolutions tuned on
the device, captured in a CUDA graph. Worker processes compile; a file lock is held for all that runs on the GPU, so
that no two modules are timed at once. Small modules are captured several times in a row in one graph
(`calls_per_replay`), so that `ms` is what the module costs inside a larger graph, without the launch of the graph
itself; `single_call_ms` is a graph of one call, its launch included.
Inputs, weights and intermediate maps stay where they lie: what fits the L2 cache is found there by the next call.

onnxruntime: fp32, CPUExecutionProvider, two threads, all optimisations; the specs marked `cpu`, in rounds.

Rows are written as they come, conditions and ceilings beside them as JSON, and for inductor the kernels of every
module as JSON lines. A module that fails is a row with its error. `--resume` keeps the rows of an earlier run, but
measures noisy ones again.
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import gc
import io
import json
import math
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import cache
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Loading torch takes seconds: at run time the parent process starts the workers before it does so itself.
    import modules as modules_type

COLUMNS = (
    *("id", "family", "ms", "p10_ms", "p90_ms", "replays", "kernels", "sm_mhz_before", "sm_mhz_after"),
    *("calls_per_replay", "single_call_ms", "other_graph_nodes", "finite", "noisy", "compile_s", "error"),
)
GROUPS = 24
TIMED_MS, TIMED_REPLAYS = 200.0, 300
SINGLE_MS, SINGLE_REPLAYS, SINGLE_GROUPS = 40.0, 100, 8
GRAPH_MS, GRAPH_CALLS = 0.5, 200
WARM_MS = 40.0
WARM_SIZE = 4096
NOISY = 1.3  # p90 over p10
TUNED_CALLS, TUNED_REPLAYS = 10, 8
SPILLS = 16  # registers that a configuration may spill, where the compiler says nothing else
PROFILED = 5  # replays whose kernels are traced
TRACED = ("kernel", "gpu_memcpy", "gpu_memset")
SPEC_LIMIT_S = 300.0
HEAVY_SHARE = 0.5  # of the workers, as long as there are light modules to compile

METHODS = {
    "inductor": (
        "fp16, eval, torch.compile (dynamic=False, freezing, max_autotune_pointwise; configurations of generated "
        "kernels chosen by their time in a CUDA graph), CUDA graph of calls_per_replay calls in a row; ms is the "
        "median over groups of replays per call, p10 and p90 over the groups; inputs, weights and maps stay where "
        "they lie between calls, so what fits the L2 is found there; 4-D inputs of convolutional modules are "
        "channels_last, pillars, images and pooling tables as they come from outside; cuDNN's quickest algorithm "
        "(cudnn.benchmark); kernels.jsonl has of each kernel its number and its microseconds in a profiled replay"
    ),
    "onnxruntime": (
        "fp32, CPUExecutionProvider, all graph optimisations, rounds with other modules between them, each again when "
        "a probe before or after it found the machine busy; kernels counts the nodes of the optimised graph"
    ),
}

Row = dict[str, Any]


def percentile(values: Sequence[float], share: float) -> float:
    """The value at a share of the sorted list (linear between neighbours)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(times_ms: Sequence[float]) -> Row:
    """Median, 10th and 90th percentile of one module's times, and whether they lie too far apart."""
    low, high = percentile(times_ms, 0.1), percentile(times_ms, 0.9)
    return {
        "ms": f"{statistics.median(times_ms):.6g}",
        "p10_ms": f"{low:.6g}",
        "p90_ms": f"{high:.6g}",
        "noisy": "yes" if high > NOISY * low else "",
    }


class GPULock:
    """A file lock that the process may ask for again while it holds it; it goes when the process ends."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "w")  # noqa: SIM115 (held as long as the process lives)
        self.held = False

    def acquire(self) -> None:
        if not self.held:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.held = True

    def synchronize_and_release(self) -> None:
        """Give it back when the GPU has done all that was started."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.release()

    def release(self) -> None:
        if self.held:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            self.held = False


# --- what is written ------------------------------------------------------------------------------------------------


class Results:
    """The CSV, the conditions beside it, and the kernels of every module.

    With `resume`, what an earlier run measured quietly is not measured again; a noisy row is, and the row with the
    smaller spread stays.
    """

    def __init__(self, path: Path, resume: bool) -> None:
        self.path = path
        self.conditions_path = path.with_suffix(".json")
        self.kernels_path = path.with_name(path.stem + "_kernels.jsonl")
        self.conditions: dict[str, Any] = {"runs": []}
        self.rows: dict[str, Row] = {}
        self.kernels: dict[str, Row] = {}
        if resume and path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                self.rows = {row["id"]: dict(row) for row in csv.DictReader(file) if not row["error"]}
            if self.conditions_path.exists():
                self.conditions = json.loads(self.conditions_path.read_text(encoding="utf-8"))
            if self.kernels_path.exists():
                lines = [json.loads(line) for line in self.kernels_path.read_text(encoding="utf-8").splitlines()]
                self.kernels = {line.pop("id"): line for line in lines}
        path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def done(self) -> set[str]:
        """What need not be measured again."""
        return {key for key, row in self.rows.items() if not row["noisy"]}

    def add(self, row: Row) -> None:
        """Write one module at once."""
        kernels = row.pop("kernel_names", None)
        times = row.pop("kernel_times", None)
        known = self.rows.get(row["id"])
        if known is None or known["error"] or (not row.get("error") and _ratio(row) < _ratio(known)):
            self.rows[row["id"]] = {name: row.get(name, "") for name in COLUMNS}
            self.kernels |= {row["id"]: {"kernels": kernels} if times is None else {"us": times}} if kernels else {}
        lines = [json.dumps({"id": key, **value}) for key, value in self.kernels.items()]
        _write(self.kernels_path, "".join(f"{line}\n" for line in lines))
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows.values())
        _write(self.path, text.getvalue())

    def write_conditions(self) -> None:
        """Write the conditions anew."""
        _write(self.conditions_path, json.dumps(self.conditions, indent=1) + "\n")


def _ratio(row: Row) -> float:
    return float(row["p90_ms"]) / float(row["p10_ms"])


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def run_conditions(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is known of this run before it starts."""
    words = [arguments.out.name if word == str(arguments.out) else word for word in sys.argv[1:]]
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": "python benchmarks/measure_modules.py " + " ".join(words),
        "backend": arguments.backend,
        "method": METHODS[arguments.backend],
        "python": platform.python_version(),
        "cpu_cores": os.cpu_count(),
    }


# --- Inductor on one GPU --------------------------------------------------------------------------------------------


class Compiled:
    """One module compiled and on its device; the lock is held from the end of the compilation on."""

    def __init__(self, spec: modules_type.ModuleSpec, lock: GPULock, device: str) -> None:
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
    def _place(value: Any, device: str, dtype: Any, spec: modules_type.ModuleSpec) -> Any:
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
            return min(_events_ms(graph.replay) for _ in range(TUNED_REPLAYS)) / TUNED_CALLS

    CachingAutotuner.bench = in_place


def _warm_up() -> None:
    """Raise the clocks: what is chosen by its time in the first call must not be timed at others."""
    import torch

    square = torch.ones(WARM_SIZE, WARM_SIZE, dtype=torch.float16, device="cuda")
    spent_ms = 0.0
    while spent_ms < WARM_MS:
        spent_ms += _events_ms(lambda: square @ square)


def _events_ms(work: Callable[[], None]) -> float:
    """Time of work on the current stream in ms."""
    import torch

    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def measure_inductor(spec: modules_type.ModuleSpec, lock: GPULock, device: str) -> Row:
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


@cache
def _stream() -> Any:
    """The stream of all captures: one, so that the workspaces of libraries are made once."""
    import torch

    return torch.cuda.Stream()


def _capture(run: Callable[[], Any], calls: int, keep: bool = False) -> Any:
    """A CUDA graph of some calls in a row; `keep`: so that its nodes can be read.

    By hand: `torch.cuda.graph` would collect garbage for long.
    """
    import torch

    graph = torch.cuda.CUDAGraph(keep_graph=True) if keep else torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    gc.disable()  # what would be freed here must not end up in the capture
    try:
        with torch.cuda.stream(_stream()):
            graph.capture_begin(capture_error_mode="relaxed")
            try:
                for _ in range(calls):
                    run()
            finally:
                graph.capture_end()
        if keep:
            graph.instantiate()
    finally:
        gc.enable()
    torch.cuda.synchronize()
    return graph


def _replay_ms(graph: Any, groups: int, replays: int) -> list[float]:
    """Milliseconds a replay, one value a group, all groups in one queue."""
    import torch

    events = [torch.cuda.Event(enable_timing=True) for _ in range(groups + 1)]
    events[0].record()
    for event in events[1:]:
        for _ in range(replays):
            graph.replay()
        event.record()
    torch.cuda.synchronize()
    return [a.elapsed_time(b) / replays for a, b in pairwise(events)]


def _time_cuda(run: Compiled) -> Row:
    import torch

    with torch.cuda.stream(_stream()):  # libraries choose and load their kernels before the capture
        for _ in range(2):
            run()
    torch.cuda.synchronize()
    try:
        single = _capture(run, 1, keep=True)
        row = _graph_nodes(single)
    except Exception:  # the nodes are worth less than the time
        torch.cuda.synchronize()
        single, row = _capture(run, 1), {}
    estimate = statistics.median(_replay_ms(single, 5, 2))
    replays = max(1, math.ceil(min(SINGLE_REPLAYS, SINGLE_MS / estimate) / SINGLE_GROUPS))
    single_ms = statistics.median(_replay_ms(single, SINGLE_GROUPS, replays))
    calls = max(1, min(GRAPH_CALLS, math.ceil(GRAPH_MS / single_ms)))
    graph = _capture(run, calls) if calls > 1 else single
    graph_ms = statistics.median(_replay_ms(graph, 3, 1))
    _replay_ms(graph, 1, max(1, math.ceil(WARM_MS / graph_ms)))
    replays = _per_group(graph_ms)
    row["sm_mhz_before"] = sm_clock_mhz()
    times = [t / calls for t in _replay_ms(graph, GROUPS, replays)]
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
        return [(f"not traced: {_line(error)}", 0.0)]
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


@cache
def _nvml_device() -> Any:
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByIndex(0)


def sm_clock_mhz() -> int | str:
    """Clock of the multiprocessors now, or nothing where it cannot be read."""
    try:
        import pynvml

        return int(pynvml.nvmlDeviceGetClockInfo(_nvml_device(), pynvml.NVML_CLOCK_SM))
    except Exception:
        return ""


def gpu_ceilings() -> dict[str, Any]:
    """What the device can do at most, each the median of repeated runs, on random data."""
    import torch

    def median_ms(function: Callable[[], Any], repeats: int, inner: int = 1) -> float:
        for _ in range(3):
            function()
        torch.cuda.synchronize()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
        events[0].record()
        for event in events[1:]:
            for _ in range(inner):
                function()
            event.record()
        torch.cuda.synchronize()
        return statistics.median(a.elapsed_time(b) / inner for a, b in pairwise(events))

    result: dict[str, Any] = {}
    for size in (8192, 4096):
        a, b = (torch.randn(size, size, device="cuda", dtype=torch.float16) for _ in range(2))
        ms = median_ms(lambda a=a, b=b: a @ b, 20)  # type: ignore[misc]
        result[f"gemm_fp16_{size}_tflops"] = 2 * size**3 / ms / 1e9
    result["sm_mhz_after_gemm"] = sm_clock_mhz()
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(4096, 4096, device="cuda") for _ in range(2))
    result["gemm_fp32_without_tf32_4096_tflops"] = 2 * 4096**3 / median_ms(lambda: a @ b, 10) / 1e9
    big = torch.randn(2**30, device="cuda", dtype=torch.float16)  # 2 GiB, 34 times the L2
    other = torch.empty_like(big)
    result["dram_read_gb_per_s"] = big.nbytes / median_ms(lambda: big.sum(), 10) / 1e6
    result["dram_copy_gb_per_s_read_plus_write"] = 2 * big.nbytes / median_ms(lambda: other.copy_(big), 10) / 1e6
    small, target = big[: 2**22], other[: 2**22]  # 8 MiB each
    graph = _capture(lambda: torch.add(small, 1.0, out=target), 100)
    result["l2_add_8mib_to_8mib_gb_per_s_read_plus_write"] = 2 * small.nbytes * 100 / median_ms(graph.replay, 20) / 1e6
    one = torch.zeros(1, device="cuda")
    chain = {count: _capture(lambda: one.add_(1.0), count) for count in (1, 200, 1000)}
    cost = {count: median_ms(graph.replay, 50) * 1e3 for count, graph in chain.items()}
    result["graph_of_1_tiny_kernel_us"] = cost[1]
    result["graph_of_200_tiny_kernels_us"] = cost[200]
    result["tiny_kernel_in_graph_us"] = (cost[1000] - cost[200]) / 800
    return result


def gpu_environment() -> dict[str, Any]:
    """Device, driver and versions."""
    import torch
    import triton

    properties = torch.cuda.get_device_properties(0)
    found: dict[str, Any] = {
        "device": properties.name,
        "sm_count": properties.multi_processor_count,
        "l2_bytes": getattr(properties, "L2_cache_size", None),
        "memory_bytes": properties.total_memory,
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }
    try:
        import pynvml

        handle = _nvml_device()
        found["driver"] = pynvml.nvmlSystemGetDriverVersion()
        found["power_limit_w"] = pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
        for name, clock in (("sm", pynvml.NVML_CLOCK_SM), ("memory", pynvml.NVML_CLOCK_MEM)):
            found[f"max_{name}_mhz"] = pynvml.nvmlDeviceGetMaxClockInfo(handle, clock)
    except Exception as error:
        found["driver"] = f"not read: {error}"
    return found


def _ceilings_process(pipe: Connection, lock_path: str, device: str) -> None:
    lock = GPULock(lock_path)
    lock.acquire()
    pipe.send({})  # the lock is held: workers may start
    try:
        pipe.send({"environment": gpu_environment(), "ceilings": gpu_ceilings()} if device == "cuda" else {})
    except Exception as error:
        pipe.send({"ceilings_error": _line(error)})
    lock.release()


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _work(pipe: Connection, lock_path: str, device: str) -> None:
    """A worker: an id in, a row out, until told to end."""
    import modules
    import torch
    import torch._inductor.compile_fx  # before the first module, not in its compile time

    torch.set_num_threads(1)
    lock = GPULock(lock_path)
    by_id = {spec.id: spec for spec in modules.specs()}
    lock.acquire()  # until the ceilings are measured
    lock.release()
    if device == "cuda":
        _warm_libraries()
    while (key := pipe.recv()) is not None:
        try:
            row = measure_inductor(by_id[key], lock, device)
        except Exception as error:
            traceback.print_exc()
            row = {"id": key, "family": by_id[key].family, "error": _line(error)}
        pipe.send(row)


def _warm_libraries() -> None:
    """Make the context and the handles of the libraries before the first module."""
    import torch

    x = torch.randn(1, 16, 8, 8, device="cuda", dtype=torch.float16).to(memory_format=torch.channels_last)
    weight = torch.randn(16, 16, 3, 3, device="cuda", dtype=torch.float16).to(memory_format=torch.channels_last)
    torch.nn.functional.conv2d(x, weight)
    matrix = torch.randn(64, 64, device="cuda", dtype=torch.float16)
    torch.mm(matrix, matrix)
    torch.cuda.synchronize()
    sm_clock_mhz()


class Worker:
    """One worker process and what it is at."""

    def __init__(self, lock_path: str, device: str) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process could not use CUDA safely
        self.pipe, child = context.Pipe()
        self.process = context.Process(target=_work, args=(child, lock_path, device), daemon=True)
        self.process.start()
        child.close()
        self.spec: modules_type.ModuleSpec | None = None
        self.since = 0.0

    def give(self, spec: modules_type.ModuleSpec) -> None:
        """Start on a module."""
        self.spec, self.since = spec, time.monotonic()
        self.pipe.send(spec.id)

    def end(self) -> None:
        """End the process, whatever it is at."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Queue:
    """Modules yet to do: long compilations take a share of the workers, the rest goes to short ones."""

    def __init__(self, specs: Iterable[modules_type.ModuleSpec], workers: int) -> None:
        self.heavy: list[modules_type.ModuleSpec] = []
        self.light: list[modules_type.ModuleSpec] = []
        for spec in specs:
            (self.heavy if spec.heavy else self.light).append(spec)
        self.limit = max(1, int(workers * HEAVY_SHARE))

    def next(self, at_work: int) -> modules_type.ModuleSpec | None:
        """The next module, when `at_work` heavy ones are being compiled."""
        if self.heavy and (at_work < self.limit or not self.light):
            return self.heavy.pop(0)
        return self.light.pop(0) if self.light else None


def run_inductor(arguments: argparse.Namespace, results: Results) -> None:
    """Ceilings first, then all modules by worker processes, until done or out of time."""
    started = time.monotonic()
    folder = tempfile.mkdtemp(prefix="measure-")
    lock_path = str(Path(folder) / "gpu.lock")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(Path(folder) / "triton")
    os.environ["TORCHINDUCTOR_FX_GRAPH_CACHE"] = os.environ["TORCHINDUCTOR_AUTOGRAD_CACHE"] = "0"  # nothing comes twice
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    ceilings, child = context.Pipe()
    first = context.Process(target=_ceilings_process, args=(child, lock_path, arguments.device), daemon=True)
    first.start()
    child.close()
    ceilings.recv()
    workers = [Worker(lock_path, arguments.device) for _ in range(arguments.workers)]
    queue = Queue(_chosen(arguments, results), arguments.workers)
    conditions = run_conditions(arguments)
    results.conditions["runs"].append(conditions)
    count, waiting = 0, True  # waiting for the ceilings

    def lost(worker: Worker, error: str) -> None:
        assert worker.spec is not None
        results.add({"id": worker.spec.id, "family": worker.spec.family, "error": error})
        print(worker.spec.id, error, flush=True)
        worker.end()
        workers[workers.index(worker)] = Worker(lock_path, arguments.device)

    try:
        while time.monotonic() - started < arguments.deadline_s:
            for worker in workers:
                if worker.spec is None:
                    spec = queue.next(sum(w.spec is not None and w.spec.heavy for w in workers))
                    if spec is not None:
                        worker.give(spec)
            pipes: dict[Any, Worker] = {w.pipe: w for w in workers if w.spec is not None}
            if not pipes and not waiting:
                break
            for pipe in wait([*pipes, *([ceilings] if waiting else [])], 1.0):
                if pipe is ceilings:
                    try:
                        conditions |= ceilings.recv()
                        results.write_conditions()
                    except EOFError:
                        waiting = False
                    continue
                worker = pipes[pipe]
                try:
                    row = worker.pipe.recv()
                except (EOFError, OSError):
                    lost(worker, "its process died")
                    continue
                results.add(row)
                count += "error" not in row
                elapsed = time.monotonic() - started
                print(f"{elapsed:6.1f} s  {count:4d}  {row['id']}  {row.get('ms', row.get('error'))}", flush=True)
                worker.spec = None
            for worker in list(workers):
                if worker.spec is not None and time.monotonic() - worker.since > SPEC_LIMIT_S:
                    lost(worker, f"took more than {SPEC_LIMIT_S:.0f} s")
    finally:
        left = len(queue.heavy) + len(queue.light) + sum(w.spec is not None for w in workers)
        for worker in workers:
            worker.end()
        first.kill()
        conditions |= {"measured": count, "left": left, "elapsed_s": round(time.monotonic() - started, 1)}
        results.write_conditions()
        print(f"{count} measured, {left} left, {conditions['elapsed_s']} s")


def _chosen(arguments: argparse.Namespace, results: Results) -> list[modules_type.ModuleSpec]:
    import modules

    every = modules.specs()
    families = set(arguments.only.split(",")) if arguments.only else {spec.family for spec in every}
    unknown = families - {spec.family for spec in every}
    if unknown:
        raise SystemExit(f"--only: found {', '.join(sorted(unknown))}; accepted: families of benchmarks/modules.py")
    small = arguments.backend == "onnxruntime"
    wanted = [s for s in every if s.family in families and s.id not in results.done and (s.cpu or not small)]
    return modules.interleaved(wanted)[: arguments.limit]


# --- ONNX Runtime on the CPU ----------------------------------------------------------------------------------------

ORT_THREADS = 2
ORT_ROUNDS, ORT_TRIES = 3, 2
ORT_WAIT_S = 0.5  # for a quiet moment, each try
ORT_ROUND_S, ORT_ROUND_RUNS = 0.2, 60
ORT_CHUNK = 8
QUIET = 1.15  # a probe may take so much longer than the quickest one


class Session:
    """One module in ONNX Runtime with its inputs."""

    def __init__(self, model: Any, inputs: Sequence[Any]) -> None:
        import onnx
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = ORT_THREADS, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        with tempfile.TemporaryDirectory() as folder:
            options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
            self.session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            nodes = onnx.load(options.optimized_model_filepath).graph.node
        self.operators = dict(Counter(node.op_type for node in nodes))
        names = [value.name for value in self.session.get_inputs()]
        self.feed = dict(zip(names, inputs, strict=True))
        self.quiet_ms: list[float] = []
        self.busy_ms: list[float] = []

    @property
    def times_ms(self) -> list[float]:
        """Times of the rounds in which nothing else ran, or of all when there was no such round."""
        return self.quiet_ms or self.busy_ms

    def run_once(self) -> float:
        """Milliseconds of one run."""
        started = time.perf_counter()
        self.session.run(None, self.feed)
        return (time.perf_counter() - started) * 1e3

    def round(self, probe: Probe) -> None:
        """One round of timed runs, again when the machine turns out to be busy with something else."""
        for _ in range(ORT_TRIES):
            before = probe.wait()
            self.run_once()
            times: list[float] = []
            until = time.perf_counter() + ORT_ROUND_S
            while len(times) < 5 or (len(times) < ORT_ROUND_RUNS and time.perf_counter() < until):
                times.append(self.run_once())
            if before and probe.quiet():
                self.quiet_ms += times
                return
            self.busy_ms += times


class Probe:
    """A small product on all threads, to see whether something else uses the processor."""

    def __init__(self) -> None:
        self.session = _ceiling_session("MatMul", {"a": (384, 384), "b": (384, 384)}, (384, 384))
        self.best_ms = min(self._ms() for _ in range(40))

    def _ms(self) -> float:
        return statistics.median(self.session.run_once() for _ in range(5))

    def quiet(self) -> bool:
        """Whether the product is about as quick as it ever was."""
        ms = self._ms()
        self.best_ms = min(self.best_ms, ms)
        return ms <= QUIET * self.best_ms

    def wait(self) -> bool:
        """Wait for a quiet moment; whether there was one."""
        until = time.monotonic() + ORT_WAIT_S
        while not self.quiet():
            if time.monotonic() > until:
                return False
            time.sleep(0.1)
        return True


def run_onnxruntime(arguments: argparse.Namespace, results: Results) -> None:
    """The small modules one by one, each in several rounds with others between them."""
    import modules
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    conditions = run_conditions(arguments)
    results.conditions["runs"].append(conditions)
    conditions |= {"environment": _cpu_environment(), "ceilings": cpu_ceilings()}
    results.write_conditions()
    todo = _chosen(arguments, results)
    probe, busy = Probe(), 0
    for start in range(0, len(todo), ORT_CHUNK):
        if time.monotonic() - started > arguments.deadline_s:
            break
        sessions: dict[str, Session] = {}
        chunk = todo[start : start + ORT_CHUNK]
        for spec in chunk:
            try:
                inputs = [value.numpy() for value in modules.build(spec)[1]]
                sessions[spec.id] = Session(modules.to_onnx(spec), inputs)
            except Exception as error:
                results.add({"id": spec.id, "family": spec.family, "error": _line(error)})
        for _ in range(ORT_ROUNDS):
            for session in sessions.values():
                session.round(probe)
        for spec in chunk:
            if spec.id in sessions:
                session = sessions[spec.id]
                row: Row = {"id": spec.id, "family": spec.family, "replays": len(session.times_ms)}
                row |= {"kernels": sum(session.operators.values()), "kernel_names": session.operators}
                results.add(row | spread(session.times_ms))
                busy += not session.quiet_ms
                print(spec.id, f"{statistics.median(session.times_ms):.4g} ms", flush=True)
    conditions["modules_without_a_quiet_round"] = busy
    conditions["ceilings_at_the_end"] = cpu_ceilings()
    conditions["elapsed_s"] = round(time.monotonic() - started, 1)
    results.write_conditions()


def _cpu_environment() -> dict[str, Any]:
    import onnxruntime

    names = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    return {
        "device": names[0] if names else platform.processor(),
        "threads": ORT_THREADS,
        "onnxruntime": onnxruntime.__version__,
        "load_average_1_min": os.getloadavg()[0],
    }


def _cpu_info() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _ceiling_session(
    operator: str, shapes: dict[str, tuple[int, ...]], output: tuple[int, ...], repeats: int = 1
) -> Session:
    """One operator on random data, or a chain of it."""
    import numpy as np
    from onnx import TensorProto, helper

    names = [*shapes][:1] + [f"x{i}" for i in range(repeats - 1)] + ["out"]
    others = [*shapes][1:]
    nodes = [helper.make_node(operator, [a, *others], [b]) for a, b in pairwise(names)]
    inputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, shape) for k, shape in shapes.items()]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, output)]
    graph = helper.make_graph(nodes, "ceiling", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    rng = np.random.default_rng(0)
    return Session(model, [rng.standard_normal(shape, dtype=np.float32) for shape in shapes.values()])


def cpu_ceilings() -> dict[str, float]:
    """Large product and cost of a node in ONNX Runtime, and copies in memory by as many threads."""
    import numpy as np

    def median_ms(measured: Session, runs: int) -> float:
        measured.run_once()
        return statistics.median(measured.run_once() for _ in range(runs))

    size, elements = 2048, 2**26
    product = _ceiling_session("MatMul", {"a": (size, size), "b": (size, size)}, (size, size))
    chained = _ceiling_session("Neg", {"in": (1, 16)}, (1, 16), repeats=500)  # no optimisation takes it apart
    copy = _ceiling_session("Relu", {"in": (elements,)}, (elements,))
    source = np.ones(elements, dtype=np.float32)
    target = np.empty_like(source)
    np.copyto(target, source)
    copies = []
    for _ in range(7):
        begun = time.perf_counter()
        np.copyto(target, source)
        copies.append(time.perf_counter() - begun)
    return {
        f"gemm_fp32_{size}_gflops": 2 * size**3 / median_ms(product, 7) / 1e6,
        "node_us": median_ms(chained, 50) * 1e3 / sum(chained.operators.values()),
        "session_nodes_of_the_chain": sum(chained.operators.values()),
        "relu_256mib_gb_per_s_read_plus_write": 8 * elements / median_ms(copy, 7) / 1e6,
        "copy_1_thread_gb_per_s_read_plus_write": 8 * elements / statistics.median(copies) / 1e9,
    }


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description="Measure the modules of benchmarks/modules.py.")
    parser.add_argument("--backend", choices=("inductor", "onnxruntime"), required=True)
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument(
        "--resume", action="store_true", help="keep the rows that are there, measure the others and noisy ones"
    )
    parser.add_argument("--only", default="", help="families, separated by commas")
    parser.add_argument("--limit", type=int, default=None, help="at most so many modules")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2), help="that compile")
    parser.add_argument("--deadline-s", type=float, default=math.inf, help="end after so many seconds")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, no measurement")
    arguments = parser.parse_args()
    results = Results(arguments.out, arguments.resume)
    (run_inductor if arguments.backend == "inductor" else run_onnxruntime)(arguments, results)


if __name__ == "__main__":
    main()
