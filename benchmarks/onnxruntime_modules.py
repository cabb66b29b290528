"""Modules through ONNX Runtime on the CPU, in rounds with others between them, when nothing else is at work."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measured_rows import Results, Row, one_line, spread

if TYPE_CHECKING:
    # Loading torch takes seconds: at run time the parent process starts the workers before it does so itself.
    from modules import ModuleSpec


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


def run_onnxruntime(
    results: Results, todo: Sequence[ModuleSpec], conditions: dict[str, Any], deadline_s: float
) -> None:
    """The small modules one by one, each in several rounds with others between them."""
    import modules
    import torch

    torch.set_num_threads(1)
    started = time.monotonic()
    results.conditions["runs"].append(conditions)
    conditions |= {"environment": _cpu_environment(), "ceilings": cpu_ceilings()}
    results.write_conditions()
    probe, busy = Probe(), 0
    for start in range(0, len(todo), ORT_CHUNK):
        if time.monotonic() - started > deadline_s:
            break
        sessions: dict[str, Session] = {}
        chunk = todo[start : start + ORT_CHUNK]
        for spec in chunk:
            try:
                inputs = [value.numpy() for value in modules.build(spec)[1]]
                sessions[spec.id] = Session(modules.to_onnx(spec), inputs)
            except Exception as error:
                results.add({"id": spec.id, "family": spec.family, "error": one_line(error)})
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
