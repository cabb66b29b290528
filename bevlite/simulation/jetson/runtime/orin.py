"""The emulated runtime on a board: engines from plans of the emulated trtexec, their times, and what time brings."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from contextlib import ExitStack

from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.gpu_use import using_gpu
from bevlite.simulation.jetson.runtime.engine import Array, TensorInfo
from bevlite.simulation.jetson.telemetry import IDLE_GPU_MHZ, RAMP_S, THROTTLED
from bevlite.simulation.jetson.timing.noise import Pace
from bevlite.simulation.jetson.trtexec import loader, outputs
from bevlite.simulation.jetson.trtexec.inference import ENQUEUE_LAYER_MS, ENQUEUE_MS, new_source, times_of_layers, trip
from bevlite.simulation.jetson.trtexec.log import Failure, Log
from bevlite.simulation.jetson.trtexec.plan import Plan
from bevlite.simulation.jetson.trtexec.waiting import wait

KINDS = {"FLOAT16": "HALF"}
"""TensorRT's names of types where ONNX has others."""
LAZY_LAYER_MS = 0.05
"""Host time a layer to load its kernel at the first run of a context. Approximate."""
FLUSH_MS = 200.0
"""Emulated time that is waited for at once."""
THROTTLES_AFTER_MS = 2000.0


class OrinGpu:
    """The GPU of a board in one process: its pace, its other users, and what strikes while it works."""

    def __init__(self, board: BoardFolder) -> None:
        self.board = board
        self._pace: Pace | None = None
        self._others = self._clock = 1.0
        self._worked_ms = self._owed_ms = 0.0
        self._use = ExitStack()

    def factor(self) -> float:
        """How many times longer than alone at the full clock the next query takes."""
        assert self._pace is not None
        return self._pace.factor(self._worked_ms) * self._others / self._clock

    def begin(self, memory_mib: float) -> None:
        """The process is a user of the GPU from its first engine on; a dead one is taken off the list."""
        if self._pace is not None:
            return
        board = self.board
        self._others += sum(load.gpu for load in board.loads())
        ramp_from = min(1.0, IDLE_GPU_MHZ / board.mode.gpu_mhz)
        self._pace = Pace(new_source(board), board.clocks_locked, RAMP_S * 1000, ramp_from)
        self._use.enter_context(using_gpu(board, "python3", gpu=0.95, memory=0.5, memory_mib=memory_mib))

    def end(self) -> None:
        """The process ends: what it owes of time passes."""
        self._flush()
        self._use.close()

    def passes(self, ms: float) -> None:
        """Emulated time has passed."""
        self._worked_ms += ms
        self._owed_ms += ms
        if self._owed_ms >= FLUSH_MS:
            self._flush()

    def _flush(self) -> None:
        owed, self._owed_ms = self._owed_ms, 0.0
        wait(self.board, owed / 1000, "measure")
        if self._worked_ms > THROTTLES_AFTER_MS and self.board.faults.active("throttling") is not None:
            trip(self.board)
            self._clock = THROTTLED


class PlanEngine:
    """An engine that trtexec of this board built."""

    def __init__(self, gpu: OrinGpu, plan: Plan, dla_core: int) -> None:
        self._gpu, self._plan = gpu, plan
        self._unit = {"GPU": "GPU", "DLA": f"DLA{dla_core}"}
        self._layer_ms = {graph: times_of_layers(gpu.board, plan, graph) for graph in (False, True)}
        self.tensors = [
            TensorInfo(row["name"], is_input, KINDS.get(row["dtype"], row["dtype"]), tuple(row["shape"]))
            for is_input, rows in ((True, plan.inputs), (False, plan.outputs))
            for row in rows
        ]
        self.size_bytes = int(plan.size_mib * 2**20)
        self.context_bytes = int(plan.activation_mib * 2**20)

    @property
    def capturable(self) -> bool:
        """As trtexec's, with the same fault."""
        return self._plan.capturable and self._gpu.board.faults.take("cuda_graph_refused") is None

    def spans_ms(self, graph: bool, first: bool) -> list[tuple[str, float]]:
        """As long as a query of trtexec, by the units of its layers."""
        factor = self._gpu.factor()
        rows = zip(self._plan.layers, self._layer_ms[graph], strict=True)
        groups = itertools.groupby(rows, key=lambda row: self._unit[row[0]["device"]])
        return [(unit, factor * sum(ms for _, ms in group)) for unit, group in groups]

    def enqueue_ms(self, graph: bool, first: bool) -> float:
        """As trtexec's, and the loading of kernels at first."""
        layers = len(self._plan.layers)
        return ENQUEUE_MS[graph] + layers * (ENQUEUE_LAYER_MS + LAZY_LAYER_MS * first)

    def compute(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As trtexec's."""
        return outputs.compute(self._gpu.board, self._plan, dict(inputs))


class PlanLoader:
    """Deserialises plans as the runtime of the board's release does: what is wrong goes to standard output."""

    def __init__(self, gpu: OrinGpu) -> None:
        self._gpu = gpu
        self._log = _RuntimeLog(gpu.board, gpu.board.release, [])

    def __call__(self, data: bytes, dla_core: int) -> PlanEngine | None:
        """The engine, or None after it was said why not."""
        board = self._gpu.board
        try:
            plan = loader.read(self._log, board, board.release, data)
        except Failure as failure:
            self._log.error(*failure.lines[:1])
            return None
        on_dla = any(layer["device"] == "DLA" for layer in plan.layers)
        if on_dla and dla_core < 0:
            self._log.error("[TRT] Cannot create DLA engine, no DLA core is set")
            return None
        self._gpu.begin(plan.size_mib + 900)
        return PlanEngine(self._gpu, plan, dla_core)


class _RuntimeLog(Log):
    """TensorRT's logger in Python: warnings and errors alone, on standard output."""

    def _print(self, severity: str, text: str) -> None:
        if severity in "WE":
            stamp = time.strftime("%m/%d/%Y-%H:%M:%S", time.localtime(self.board.now()))
            print(f"[{stamp}] [TRT] [{severity}] {text.removeprefix('[TRT] ')}", flush=True)


def total_bytes(board: BoardFolder) -> int:
    """Memory that is free before the process takes any, with what the board itself needs gone."""
    return int((board.module.memory_mib - 3900) * 2**20)
