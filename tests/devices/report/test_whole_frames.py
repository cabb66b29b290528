"""Whole frames through the engines of a network, over the real ssh: every generation, every fault in the middle."""

from __future__ import annotations

import fcntl
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bevlite.devices.board_device import BoardDevice
from bevlite.devices.link import faults
from bevlite.devices.report.frame_results import FramesDevice, SampleFrames
from bevlite.devices.report.latency import LatencyReport
from bevlite.devices.report.whole_frames import Samples, WholeFrames
from bevlite.latency.pipeline import steps_for
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.timing.kinds import KINDS
from tests.devices.boards import SHAPE, over_ssh, sample
from tests.devices.conftest import Served, require_sshd
from tests.devices.link.test_faults import left_behind
from tests.devices.test_inference import modules

STEPS = steps_for(cameras=6, sweeps=10, after=["decoding"])
SHORT = {"duration_s": 1.0, "most_queries": 100, "queries": 50, "warmup_ms": 50}
LONG = {"duration_s": 4.0, "longest_s": 4.0, "queries": 50, "warmup_ms": 50}
SLOWER = 300.0
"""A frame takes about 15 ms then: faults find the time to strike, and there are few frames to go through."""
_seeds = itertools.count(300)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A board on which everything takes long."""
    require_sshd()
    factors = dict.fromkeys(KINDS, SLOWER)
    board = EmulatedBoard.create(tmp_path_factory.mktemp("board") / "orin", factors=factors, time_scale=0.01)
    with board.serve() as server:
        yield Served(board, server)


def given(count: int = 2) -> SampleFrames:
    frames = tuple({"x": sample()["x"] * (number + 1)} for number in range(count))
    return SampleFrames(frames, Samples(count=count, source="drawn", real=False))


def timed(device: BoardDevice, folder: Path, *, half: bool = True) -> WholeFrames:
    """Frames through two modules that no test has built yet."""
    return device.time_frames(modules(folder, half=half, seed=next(_seeds)), given(), STEPS)


def when(device: BoardDevice, words: str, act: Callable[[], None]) -> list[str]:
    """Do something when the device says these words for the first time."""
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if sum(words in line for line in said) == 1 and words in text:
            act()

    device._say = say
    return said


@pytest.mark.parametrize("version", ["8.5.2", "10.3.0", "11.4.1"])
def test_every_generation_times_whole_frames(version: str, tmp_path: Path, served: Served) -> None:
    factors = dict.fromkeys(KINDS, SLOWER)
    board = EmulatedBoard.create(tmp_path / "board", tensorrt=version, time_scale=0.01, factors=factors)
    half = int(version.split(".")[0]) >= 10
    with board.serve() as server, over_ssh(server, protocol={**SHORT, "repetitions": 2}) as device:
        assert isinstance(device, FramesDevice)
        found = device.time_frames(modules(tmp_path, half=half), given(), STEPS)
    one, two = found.one_in_flight, found.two_in_flight
    assert found.why_not == "" and one is not None and two is not None
    assert found.runner.startswith(f"tensorrt python {version}.") and found.cuda_graphs == ("neck", "head")
    names = ["image_preprocessing", "pillarisation", "copy in", "neck", "head", "copy out", "decoding"]
    assert [step.name for step in found.steps] == names
    assert found.missing == ("image_preprocessing", "pillarisation", "decoding")
    assert len(found.first_frames_ms) == len(one.timing.run_medians_ms) == 2
    assert found.first_frame_ms is not None and found.first_frame_ms > one.timing.p50_ms
    # The parts of a frame are in its latency, and nothing is in it twice.
    parts = np.sum([part.timing.samples_ms for part in one.parts], axis=0)
    assert (parts <= np.array(one.timing.samples_ms)).all() and parts.min() > 0.9 * one.timing.p50_ms
    assert two.throughput_fps > one.throughput_fps and two.timing.p50_ms > one.timing.p50_ms
    assert np.mean(two.timing.samples_ms) * two.throughput_fps / 1000 == pytest.approx(2.0, rel=0.1)
    for flight in (one, two):
        assert flight.power is not None and flight.power.module_w and flight.memory_mb is not None
    assert two.memory_mb is not None and one.memory_mb is not None and two.memory_mb > one.memory_mb > 0


def test_whole_frames_stand_beside_the_sum_of_the_engines(orin_board: Served, tmp_path: Path) -> None:
    files = modules(tmp_path, half=True, seed=next(_seeds))
    with over_ssh(orin_board.server, protocol=SHORT) as device:
        report = device.measure(files, STEPS, inputs={"neck": sample()})
        found = device.time_frames(files, given(), STEPS)
    whole = report.with_whole_frames(found)
    one = found.one_in_flight
    keys = {row.name: row.measured.engine.key for row in report.modules if row.measured and row.measured.engine}
    assert found.engines == keys, "the engines that were measured alone"
    assert found.conditions.clocks_locked and found.conditions.temperature_after_c is not None
    assert found.protocol["queries"] == SHORT["queries"] and found.command[-2:] == ("frame_timer", "order.json")
    forged = whole.model_dump(mode="json") | {"kind": "predicted", "predictor": "p"}
    with pytest.raises(ValueError, match="whole frames are measured or not there"):
        LatencyReport.model_validate(forged)
    assert whole.total_ms == report.total_ms, "whole frames are beside the sum, not in it"
    assert one is not None and whole.end_to_end is not None
    engines_ms = sum(row.latency_ms for row in report.modules)
    assert whole.end_to_end.difference_ms == pytest.approx(one.timing.p50_ms - engines_ms)
    # The engines are the same in the chain: what is more is copies and launches, here far below a tenth.
    assert one.timing.p50_ms == pytest.approx(engines_ms, rel=0.1)
    assert "more than the sum of the engines' medians alone" in whole.end_to_end.difference
    whole.write(tmp_path / "report.json")
    assert LatencyReport.read(tmp_path / "report.json") == whole and whole.kind == "emulated"


def test_without_the_python_package_the_report_says_what_mends_it(tmp_path: Path, served: Served) -> None:
    board = EmulatedBoard.create(tmp_path / "board", time_scale=0.01, python_api=False)
    with board.serve() as server, over_ssh(server) as device:
        found = timed(device, tmp_path)
    assert found.one_in_flight is None and "sudo apt install python3-libnvinfer" in found.why_not
    engines = [step for step in found.steps if step.name in ("neck", "head")]
    assert [step.status for step in engines] == ["missing", "missing"] and "python3-libnvinfer" in engines[0].why


def test_no_sample_stays_on_the_board(orin_board: Served, tmp_path: Path) -> None:
    """Eight samples of a real network are a hundred megabytes, and every run has others."""
    folder = orin_board.board.root / "home/nvidia/.bevlite"
    before = set((folder / "uploads").iterdir()) if folder.is_dir() else set()
    with over_ssh(orin_board.server, protocol=SHORT) as device:
        timed(device, tmp_path)
    left = [path.stat().st_size for path in set((folder / "uploads").iterdir()) - before]
    graphs = sorted(path.stat().st_size for path in tmp_path.glob("*.onnx"))
    assert left and max(left) <= max(graphs) < np.prod(SHAPE) * 2
    assert list((folder / "work").iterdir()) == []


def test_an_engine_on_a_dla_is_timed_without_a_graph(orin_board: Served, tmp_path: Path) -> None:
    with over_ssh(orin_board.server, build={"dla": {"neck": 1}}, protocol=SHORT) as device:
        found = timed(device, tmp_path, half=False)
    assert found.cuda_graphs == ("head",) and found.one_in_flight is not None
    assert any("neck: CUDA graph refused" in note for note in found.notes)


def test_outputs_that_are_not_finite_and_graphs_that_are_refused_are_said(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.faults.set("nan_outputs")
    orin_board.board.faults.set("cuda_graph_refused")
    with over_ssh(orin_board.server, protocol=SHORT) as device:
        found = timed(device, tmp_path)
    assert "output 'map' is not finite" in found.notes and found.one_in_flight is not None
    assert found.cuda_graphs == () and "head: CUDA graph refused: enqueued without one in the chain" in found.notes


@pytest.mark.parametrize(
    ("name", "parameters", "note"),
    [
        ("throttling", {"times": 1}, "a run was void and repeated"),
        ("connection_drop", {"phase": "measure", "times": 1}, "tried again after connection_lost"),
        ("reboot", {"during": "measure", "times": 1}, "tried again after board_rebooted"),
        ("killed", {"phase": "measure", "times": 1}, "tried again after killed"),
        ("clock_jump", {"seconds": 600, "during": "measure"}, "the board's clock jumped by"),
    ],
)
def test_a_fault_that_passes_costs_nothing(
    orin_board: Served, tmp_path: Path, name: str, parameters: dict[str, Any], note: str
) -> None:
    # Long enough for a fault in the middle.
    with over_ssh(
        orin_board.server, protocol={"duration_s": 10.0, "most_queries": 100000, "longest_s": 10.0}
    ) as device:
        files = modules(tmp_path, half=True, seed=next(_seeds))

        when(device, "frames, run 1 of 1", lambda: orin_board.board.faults.set(name, **parameters))
        found = device.time_frames(files, given(), STEPS)
    assert any(note in text for text in found.notes), found.notes
    assert found.one_in_flight is not None and left_behind(orin_board.server.root) == []


def test_a_fault_that_stays_is_named(orin_board: Served, tmp_path: Path) -> None:
    with over_ssh(orin_board.server, protocol={**LONG, "void_retries": 1}) as device:
        orin_board.board.faults.set("throttling")

        def again() -> None:
            orin_board.board.faults.set("throttling")

        when(device, "void", again)
        with pytest.raises(faults.Throttling):
            device.time_frames(modules(tmp_path, half=True, seed=next(_seeds)), given())
    assert left_behind(orin_board.server.root) == []


def test_a_hang_is_ended_by_the_limit(orin_board: Served, tmp_path: Path) -> None:
    limits = {**SHORT, "run_limit_s": 2.0, "longest_s": 0.2}
    with over_ssh(orin_board.server, protocol=limits) as device:
        when(device, "frames, run 1", lambda: orin_board.board.faults.set("hang", phase="measure"))
        with pytest.raises(faults.Hang, match="phase 'frames'"):
            timed(device, tmp_path)
    assert left_behind(orin_board.server.root) == []


def test_a_result_is_kept_when_the_connection_drops_with_it(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.faults.set("connection_drop", phase="result", after=3000, times=1)
    with over_ssh(orin_board.server, protocol=SHORT) as device:
        said = when(device, "nothing", lambda: None)
        found = timed(device, tmp_path)
    assert any("connection_lost" in note for note in found.notes)
    assert sum("frames, run 1" in text for text in said) == 1, "timed twice"
    assert list((orin_board.server.root / "home/nvidia/.bevlite/results").iterdir()) == []


def test_a_board_that_was_taken_meanwhile_gives_no_figure(orin_board: Served, tmp_path: Path) -> None:
    """The lease is lost in the middle of the frames; the next attempt has it again."""
    lease = orin_board.server.root / "home/nvidia/.bevlite/lease.json"
    with over_ssh(orin_board.server, protocol=LONG, limits={"lease_ttl_s": 0.3}) as device:

        def take() -> None:
            # The run ends by the loss alone. Where it is past the place at which it would hang, the next one waits.
            orin_board.board.faults.set("hang", phase="measure", times=1, seconds=20)
            with lease.with_name("lease.guard").open("a") as guard:
                fcntl.flock(guard, fcntl.LOCK_EX)
                lease.write_text(lease.read_text().replace(device._owner, "somebody:1:else"))

        when(device, "frames, run 1", take)
        found = timed(device, tmp_path)
    assert any("lease_lost" in note for note in found.notes) and found.one_in_flight is not None


def test_an_engine_of_another_version_is_built_again(orin_board: Served, tmp_path: Path) -> None:
    files = modules(tmp_path, half=True, seed=next(_seeds))
    with over_ssh(orin_board.server, protocol=SHORT) as device:
        device.time_frames(files, given())
        said = when(device, "frames, run 1", lambda: None)
        orin_board.board.faults.set("engine_other_version", times=1)
        found = device.time_frames(files, given())
    assert found.one_in_flight is not None and sum("frames, run 1" in text for text in said) == 2
