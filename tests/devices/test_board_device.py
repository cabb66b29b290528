"""A board over ssh: generations of TensorRT, caches, inputs, two workers, pools."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bevlite.devices.link import faults
from bevlite.devices.link.session import Session
from bevlite.devices.pool import BoardPool, Work
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.simulation.jetson.board import EmulatedBoard
from tests.devices.boards import SHAPE, over_ssh, sample, small_net
from tests.devices.conftest import Served


@pytest.mark.parametrize("version", ["8.5.2", "8.6.2", "10.16.2", "11.4.1"])
def test_every_generation_is_built_and_read_back(version: str, tmp_path: Path, served: Served) -> None:
    board = EmulatedBoard.create(tmp_path / "board", tensorrt=version, time_scale=0.01)
    path = small_net(tmp_path / "m.onnx", half=int(version.split(".")[0]) >= 10)
    with board.serve() as server, over_ssh(server) as device:
        report = device.measure({"m": path}, inputs={"m": sample()})
        (row,) = report.modules
        assert report.conditions.tensorrt == version and row.measured is not None
        assert row.measured.engine is not None and row.measured.engine.precisions.get("fp16", 0) >= 1
        assert row.measured.power is not None and row.measured.power.module_w
        assert row.measured.energy_j == pytest.approx(row.measured.power.module_w * row.latency_ms / 1000)
        assert [layer.module for layer in row.measured.layers if layer.nodes] != []
        expected = device.outputs(path, sample())["y"]
        assert np.isfinite(expected).all()


def test_an_engine_is_built_once_and_told_apart_by_its_weights(orin_board: Served, tmp_path: Path) -> None:
    paths = [small_net(tmp_path / f"{seed}.onnx", seed) for seed in (31, 32)]
    with over_ssh(orin_board.server) as device:
        engines = [device.measure({"m": path}).modules[0].measured.engine for path in (*paths, paths[0])]  # type: ignore[union-attr]
    assert [engine.cached for engine in engines if engine] == [False, False, True]
    assert engines[0].key == engines[2].key != engines[1].key  # type: ignore[union-attr]


def test_conditions_are_checked_and_mended_only_where_allowed(orin_board: Served, tmp_path: Path) -> None:
    orin_board.board.reboot()
    time.sleep(1.0)
    with over_ssh(orin_board.server, sudo="never") as device:
        problems = {problem.code: problem.fix for problem in device.check().problems}
        assert problems == {"clocks_unlocked": "sudo jetson_clocks"}
        with pytest.raises(faults.ClocksUnlocked, match="sudo jetson_clocks"):
            device.measure({"m": small_net(tmp_path / "m.onnx")})
    with over_ssh(orin_board.server, power_mode="MODE_30W", sudo="never") as device:
        assert {"power_mode", "clocks_unlocked"} == {problem.code for problem in device.check().problems}
    with over_ssh(orin_board.server) as device:
        report = device.measure({"m": small_net(tmp_path / "m.onnx")})
        assert report.conditions.clocks_locked and not device.check().problems


def test_two_workers_at_once_take_turns(orin_board: Served, tmp_path: Path) -> None:
    reports: dict[int, LatencyReport] = {}
    spans: list[tuple[int, str]] = []

    def work(number: int) -> None:
        device = over_ssh(orin_board.server)
        device._say = lambda text: spans.append((number, text))
        with device:
            path = small_net(tmp_path / f"worker{number}.onnx", 50 + number)
            reports[number] = device.measure({f"module{number}": path})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: report.modules[0].name for n, report in reports.items()} == {n: f"module{n}" for n in range(3)}
    assert len({report.modules[0].measured.engine.key for report in reports.values()}) == 3  # type: ignore[union-attr]
    # From the first word of the build to the last of the result nobody else says anything of work on the board.
    working = [n for n, text in spans if text.split(": ")[-1] in ("build", "measure", "profile", "result")]
    changes = sum(a != b for a, b in itertools.pairwise(working))
    assert changes == 2, spans


def test_a_held_lease_is_waited_for_and_then_refused(orin_board: Served, tmp_path: Path) -> None:
    with over_ssh(orin_board.server) as first, over_ssh(orin_board.server, limits={"lease_wait_s": 0.3}) as second:
        first.acquire(0.0)
        with pytest.raises(faults.LeaseHeld, match="leased by"):
            second.measure({"m": small_net(tmp_path / "m.onnx")})
        first.release()
        second.acquire(0.0)


def test_a_dynamic_or_split_graph_is_refused_before_anything_is_sent(orin_board: Served, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
    graph.output[0].name = "y"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "d.onnx")
    with over_ssh(orin_board.server) as device:
        with pytest.raises(BevliteError, match="static shape"):
            device.measure({"d": tmp_path / "d.onnx"})
        with pytest.raises(BevliteError, match=r"'x': found \(1, 2\)"):
            device.measure({"m": small_net(tmp_path / "m.onnx")}, inputs={"m": {"x": np.zeros((1, 2))}})
        assert device._session is None and SHAPE


def test_a_request_that_does_not_fit_the_graph_is_refused(orin_board: Served, tmp_path: Path) -> None:
    with over_ssh(orin_board.server) as device, pytest.raises(faults.BadRequest, match="without Q/DQ"):
        device.measure({"m": small_net(tmp_path / "m.onnx")}, precision="int8")


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Served]:
    board = EmulatedBoard.create(tmp_path / "second", tensorrt="10.3.0", time_scale=0.01)
    with board.serve() as server:
        yield Served(board, server)


def test_a_pool_loses_and_doubles_nothing(orin_board: Served, second: Served, tmp_path: Path) -> None:
    boards = [over_ssh(orin_board.server, "first"), over_ssh(second.server, "second")]
    pool = BoardPool("pool", boards, rest_s=0.2)
    work = [Work({f"m{i}": small_net(tmp_path / f"{i}.onnx", 70 + i)}) for i in range(4)]
    outcomes = list(pool.measure_all(work))
    pool.close()
    assert sorted(outcome.index for outcome in outcomes) == list(range(4))
    for outcome in outcomes:
        assert outcome.error is None and outcome.report is not None
        assert outcome.report.modules[0].name == f"m{outcome.index}" and outcome.report.device == outcome.device
    assert {outcome.device for outcome in outcomes} == {"first", "second"}


def test_a_board_that_fails_rests_and_the_other_does_its_work(
    orin_board: Served, second: Served, tmp_path: Path
) -> None:
    orin_board.board.faults.set("trtexec_missing")
    boards = [over_ssh(orin_board.server, "first"), over_ssh(second.server, "second")]
    pool = BoardPool("pool", boards, rest_s=0.2)
    work = [Work({f"m{i}": small_net(tmp_path / f"{i}.onnx", 80 + i)}) for i in range(2)]
    outcomes = list(pool.measure_all(work))
    assert {outcome.device for outcome in outcomes} == {"second"} and not any(outcome.error for outcome in outcomes)
    assert pool.measure({"m": tmp_path / "0.onnx"}).device == "second"
    second.board.faults.set("trtexec_missing")
    boards[1].close()
    with pytest.raises(faults.TrtexecMissing):
        pool.measure({"m": tmp_path / "0.onnx"})
    bad = list(pool.measure_all([Work({"m": tmp_path / "0.onnx"})]))
    assert isinstance(bad[0].error, faults.TrtexecMissing) and len(bad[0].refused_by) == 2
    pool.close()


def test_a_board_that_was_given_up_is_not_waited_for_again(tmp_path: Path, served: Served) -> None:
    """A pool asks a dead board again after each rest: others must not stand still for it."""
    board = EmulatedBoard.create(tmp_path / "board", tensorrt="10.3.0", time_scale=0.01)
    path = small_net(tmp_path / "m.onnx")
    with board.serve() as server:
        device = over_ssh(server, limits={"reconnect_s": 4.0})
        device.measure({"m": path})
    seconds = []
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(faults.Unreachable, match="Connection refused"):
            device.measure({"m": path})
        seconds.append(time.monotonic() - began)
    assert seconds[0] >= 4.0 and seconds[1] < 3.0, seconds
    with board.serve(), device:
        assert device.measure({"m": path}).modules[0].measured.engine.cached  # type: ignore[union-attr]


def test_what_a_dla_takes_and_what_falls_back_is_listed(orin_board: Served, tmp_path: Path) -> None:
    """LogSoftmax is no operator of the DLA; the convolution is."""
    path = small_net(tmp_path / "m.onnx", 41, half=False, last="LogSoftmax")
    with over_ssh(orin_board.server, build={"dla": {"m": 0}}) as device:
        report = device.measure({"m": path})
    engine = report.modules[0].measured.engine  # type: ignore[union-attr]
    assert engine is not None and engine.dla_layers and "--useDLACore=0" in engine.command
    assert any("last" in name for name in engine.dla_fallbacks)
    assert any("left the DLA for the GPU" in note for note in report.notes)
    with over_ssh(orin_board.server, build={"dla": {"m": 0}}) as device, pytest.raises(faults.BadRequest, match="fp32"):
        device.measure({"m": path}, precision="fp32")


def test_a_calibration_cache_is_sent_where_the_version_takes_one(orin_board: Served, tmp_path: Path) -> None:
    cache = tmp_path / "m.cache"
    cache.write_text("TRT-100300-EntropyCalibration2\nx: 3c010a14\nc: 3c010a14\ny: 3c010a14\n")
    path = small_net(tmp_path / "m.onnx", 42, half=False)
    with over_ssh(orin_board.server, build={"calibration": {"m": str(cache)}}) as device:
        report = device.measure({"m": path}, precision="int8")
    engine = report.modules[0].measured.engine  # type: ignore[union-attr]
    assert engine is not None and engine.precisions.get("int8", 0) >= 1
    missing = over_ssh(orin_board.server, build={"calibration": {"m": str(tmp_path / "gone")}})
    with missing as device, pytest.raises(BevliteError, match="calibration: m"):
        device.measure({"m": path}, precision="int8")


def test_a_connection_lost_after_the_answer_costs_nothing(
    orin_board: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def lost(session: Session, job: str) -> None:
        asked.append(job)
        session.close()
        raise faults.ConnectionLost("board", "the connection ended")

    monkeypatch.setattr(Session, "forget", lost)
    with over_ssh(orin_board.server) as device:
        report = device.measure({"m": small_net(tmp_path / "m.onnx")})
    assert len(asked) == 1 and report.modules[0].measured is not None
