"""TensorRT's Python API on the emulated board: the same engines, times and outputs as its trtexec."""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.agent.python_api.chain import Chain, Network
from bevlite.agent.python_api.cuda import Cuda, RunnerError
from bevlite.simulation.jetson import store
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.runtime import orin
from bevlite.simulation.jetson.runtime.api import api
from bevlite.simulation.jetson.runtime.driver import Driver
from bevlite.simulation.jetson.runtime.timeline import Timeline
from bevlite.simulation.jetson.timing.kinds import KINDS
from bevlite.simulation.jetson.timing.noise import Pace, query_times_ms
from bevlite.simulation.jetson.timing.roofline import transfer_ms
from tests.simulation.jetson.conftest import VERSIONS, Bench, each_version

SHAPE = (1, 3, 64, 64)


class Process:
    """A process that uses the runtime on a board: its GPU, its driver, its `tensorrt`."""

    def __init__(self, bench: Bench) -> None:
        self.gpu = orin.OrinGpu(bench.state)
        self.driver = Driver(
            Timeline(self.gpu.passes), orin.total_bytes(bench.state), lambda size: transfer_ms(size, bench.state.mode)
        )
        version = ".".join(map(str, bench.state.release.plan_version))
        self.trt: Any = type("Module", (), api(self.driver, orin.PlanLoader(self.gpu), version))
        self.cuda = Cuda(self.driver)

    def chain(self, path: Path, dla_core: int | None = None) -> Chain:
        return Chain(Network(self.trt, self.cuda, [str(path)], [dla_core]), {})


def times_ms(process: Process, chain: Chain, graph: bool, count: int) -> list[float]:
    """GPU times of an engine by events."""
    first, last = process.cuda.event(), process.cuda.event()
    chain.enqueue(0)
    process.cuda.wait(chain.stream)

    def accepts() -> bool:
        chain.enqueue(0)
        return True

    made = process.cuda.capture(chain.stream, accepts) if graph else None
    found = []
    for _ in range(count):
        process.cuda.record(first, chain.stream)
        chain.enqueue(0) if made is None else process.cuda.launch(made, chain.stream)
        process.cuda.record(last, chain.stream)
        process.cuda.wait(chain.stream)
        found.append(process.cuda.elapsed_ms(first, last))
    return found


@each_version
def test_the_times_are_those_of_trtexec(bench: Bench) -> None:
    bench.lock_clocks()
    # Slower by far, so that what a launch costs the host is no part of it.
    store.write(bench.state.path / "truth.json", {"seed": 5, "factors": dict.fromkeys(KINDS, 40.0)})
    assert bench.build().code == 0
    graph = [] if bench.state.release.major >= 11 else ["--useCudaGraph"]
    done = bench.run("--loadEngine=m.plan", "--duration=1", "--noDataTransfers", *graph, "--exportTimes=t.json")
    assert done.code == 0, done.err
    alone = float(np.median([row["computeMs"] for row in json.loads((bench.folder / "t.json").read_text())]))
    process = Process(bench)
    found = times_ms(process, process.chain(bench.folder / "m.plan"), True, 300)
    assert np.median(found[100:]) == pytest.approx(alone, rel=0.03)  # a launch more, and another run's pace


@each_version
def test_the_outputs_are_those_of_trtexec(bench: Bench) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, SHAPE).astype(np.float32)
    (bench.folder / "in.raw").write_bytes(values.tobytes())
    bench.build()
    bench.run("--loadEngine=m.plan", "--loadInputs=images:in.raw", "--exportOutput=out.json", "--duration=0")
    (row,) = json.loads((bench.folder / "out.json").read_text())
    chain = Process(bench).chain(bench.folder / "m.plan")
    chain.run({"images": str(bench.folder / "in.raw")})
    found = np.frombuffer(chain.fetch("scores"), chain.tensors["scores"].dtype)
    np.testing.assert_allclose(found.astype(np.float32), row["values"], rtol=1e-4)


def test_the_first_run_of_a_context_loads_its_kernels(bench: Bench) -> None:
    bench.lock_clocks()
    bench.build()
    process = Process(bench)
    chain = process.chain(bench.folder / "m.plan")

    def run_ms() -> float:
        began = process.driver.timeline.now
        chain.enqueue(0)
        process.cuda.wait(chain.stream)
        return process.driver.timeline.now - began

    assert run_ms() > 3 * run_ms()


def test_what_the_runtime_refuses_is_said(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.build()
    (bench.folder / "bad.plan").write_bytes(b"no plan at all")
    with pytest.raises(RunnerError, match="deserialization failed"):
        Process(bench).chain(bench.folder / "bad.plan")
    assert "[E]" in capsys.readouterr().out
    bench.board.faults.set("engine_other_version", times=1)
    with pytest.raises(RunnerError):
        Process(bench).chain(bench.folder / "m.plan")
    assert "expecting library version 10.3.0.30 got 10.3.1.12" in capsys.readouterr().out
    bench.board.faults.set("engine_other_module", times=1)
    Process(bench).chain(bench.folder / "m.plan")
    assert "[W] Using an engine plan file across different models" in capsys.readouterr().out


def test_a_dla_engine_wants_its_core_and_allows_no_graph(bench: Bench) -> None:
    assert bench.build("--fp16", "--useDLACore=1", "--allowGPUFallback").code == 0
    with pytest.raises(RunnerError, match="deserialization failed"):
        Process(bench).chain(bench.folder / "m.plan")
    process = Process(bench)
    chain = process.chain(bench.folder / "m.plan", dla_core=1)
    chain.enqueue(0)
    process.cuda.wait(chain.stream)
    assert {"DLA1"} <= set(process.driver.timeline._busy)
    assert process.cuda.capture(chain.stream, lambda: bool(chain.contexts[0].execute_async_v3(chain.stream))) is None
    chain.enqueue(0)  # and the stream can be used as before


def test_throttling_slows_the_gpu_and_is_counted(bench: Bench) -> None:
    bench.lock_clocks()
    bench.build()
    bench.board.faults.set("throttling", times=1)
    process = Process(bench)
    chain = process.chain(bench.folder / "m.plan")
    before = np.median(times_ms(process, chain, True, 200))
    process.driver.timeline.host(orin.THROTTLES_AFTER_MS + orin.FLUSH_MS)
    after = np.median(times_ms(process, chain, True, 200))
    assert after > 1.3 * before and bench.state.state["oc_events"] == 1
    assert bench.state.faults.active("throttling") is None


def test_while_it_works_the_process_is_a_user_of_the_gpu(bench: Bench) -> None:
    bench.build()
    process = Process(bench)
    process.chain(bench.folder / "m.plan")
    assert [load.name for load in bench.state.loads()] == ["python3"]
    process.gpu.end()
    assert bench.state.loads() == []


def test_a_call_that_is_not_emulated_is_no_silent_success(bench: Bench) -> None:
    with pytest.raises(AttributeError):
        Process(bench).driver.cuMemFree_v2(ctypes.c_uint64(0))  # type: ignore[attr-defined]


def test_one_query_after_the_other_varies_as_a_run_does() -> None:
    """`Pace` and `query_times_ms` are the same noise, drawn one by one and all at once."""
    many = query_times_ms(10.0, 4000, np.random.default_rng(1), True, 400.0, 0.25)[200:]
    pace = Pace(np.random.default_rng(2), True, 400.0, 0.25)
    single = np.array([10.0 * pace.factor(2000.0 + i * 10.0) for i in range(3800)])
    for share, tolerance in ((50, 0.005), (90, 0.005), (99, 0.01)):
        assert np.percentile(single, share) == pytest.approx(np.percentile(many, share), rel=tolerance)
    ramping = Pace(np.random.default_rng(2), False, 400.0, 0.25)
    assert ramping.factor(0.0) > 3 * ramping.factor(1000.0)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_boards_python_has_the_package_of_its_release(version: str, tmp_path: Path) -> None:
    board = EmulatedBoard.create(tmp_path / "board", tensorrt=version, time_scale=0.0)

    def run(program: str) -> subprocess.CompletedProcess[str]:
        words = [board.root / "usr/bin/python3", "-I", "-c", program]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    done = run("import ctypes, tensorrt as t; ctypes.CDLL('libcuda.so.1'); print(t.__version__, t.__doc__)")
    assert done.stdout.startswith(version + ".") and "EMULATED" in done.stdout, done.stderr
    assert "No module named 'numpy'" in run("import numpy").stderr, "a Jetson's python3 has the standard library"
    clock = "import tensorrt, time; a = time.monotonic(); time.sleep(0.05); print(time.monotonic() - a)"
    assert run(clock).stdout == "0.0\n", "clocks show emulated time"


def test_a_board_without_the_package(tmp_path: Path) -> None:
    board = EmulatedBoard.create(tmp_path / "board", time_scale=0.0, python_api=False)
    done = subprocess.run(
        [board.root / "usr/bin/python3", "-I", "-c", "import tensorrt"], capture_output=True, text=True
    )
    assert "No module named 'tensorrt'" in done.stderr
