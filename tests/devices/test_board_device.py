"""A board over ssh: generations of TensorRT, caches, inputs, two workers, pools."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bevlite.devices.link import faults
from bevlite.devices.link.session import Session
from bevlite.devices.link.waiting import LONGEST_PAUSE_S, Clock
from bevlite.devices.pool import BoardPool
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.server import RunningBoard
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
        (outputs,) = device.infer({"m": path}, [sample()], ["y"]).frames
        assert np.isfinite(outputs["y"]).all()


def test_an_engine_is_built_once_and_told_apart_by_its_weights(orin_board: Served, tmp_path: Path) -> None:
    paths = [small_net(tmp_path / f"{seed}.onnx", seed) for seed in (31, 32)]
    with over_ssh(orin_board.server) as device:
        engines = [device.measure({"m": path}).modules[0].measured.engine for path in (*paths, paths[0])]  # type: ignore[union-attr]
    assert [engine.cached for engine in engines if engine] == [False, False, True]
    assert engines[0].key == engines[2].key != engines[1].key  # type: ignore[union-attr]


def test_conditions_are_checked_and_mended_only_where_allowed(orin_board: Served, tmp_path: Path) -> None:
    orin_board.reboot()
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


def test_workers_share_boards_and_lose_and_double_nothing(orin_board: Served, second: Served, tmp_path: Path) -> None:
    """Each worker has a pool of its own, as the processes of a search have."""
    servers = {"first": orin_board.server, "second": second.server}
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    reports: list[LatencyReport] = []
    paths = {number: small_net(tmp_path / f"{number}.onnx", 70 + number) for number in range(4)}
    before = sum(len(engines(server)) for server in servers.values())
    for number in paths:
        waiting.put(number)

    def work() -> None:
        pool = BoardPool("pool", [over_ssh(server, name) for name, server in servers.items()])
        with contextlib.suppress(queue.Empty):
            while True:
                number = waiting.get_nowait()
                reports.append(pool.measure({f"m{number}": paths[number]}))
        pool.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.modules[0].name for report in reports) == [f"m{number}" for number in paths]
    assert sum(len(engines(server)) for server in servers.values()) - before == len(paths)


def engines(server: RunningBoard) -> list[Path]:
    return list((server.root / "home/nvidia/.bevlite/engines").glob("*"))


def test_a_pool_takes_the_board_that_is_free(orin_board: Served, second: Served, tmp_path: Path) -> None:
    pool = BoardPool("pool", [over_ssh(orin_board.server, "first"), over_ssh(second.server, "second")])
    path = small_net(tmp_path / "m.onnx", 90)
    for busy, free in ((orin_board, "second"), (second, "first")):
        with over_ssh(busy.server, "other") as other:
            other.acquire(0.0)
            assert pool.measure({"m": path}).device == free
    pool.close()


def test_a_board_that_fails_rests_and_the_other_does_its_work(
    orin_board: Served, second: Served, tmp_path: Path
) -> None:
    now = [0.0]
    orin_board.board.faults.set("trtexec_missing")
    boards = [over_ssh(orin_board.server, "first"), over_ssh(second.server, "second")]
    pool = BoardPool("pool", boards, rest_s=60.0)
    pool.clock = Clock(lambda: now[0])
    path = small_net(tmp_path / "m.onnx", 80)
    asked: list[str] = []
    for board in boards:
        board._say = lambda text, name=board.name: asked.append(name)  # type: ignore[misc]
    for _ in range(3):
        assert pool.measure({"m": path}).device == "second"
    second.board.faults.set("trtexec_missing")
    boards[1].close()
    with pytest.raises(faults.TrtexecMissing):
        pool.measure({"m": path})
    orin_board.board.faults.clear()
    asked.clear()
    with pytest.raises(faults.TrtexecMissing):
        pool.measure({"m": path})
    assert asked == [], "both rest"
    now[0] += 61.0
    assert pool.measure({"m": path}).device == "first"
    pool.close()


def test_a_board_that_was_given_up_is_not_waited_for_again(tmp_path: Path, served: Served) -> None:
    """A pool asks a dead board again after each rest: others must not stand still for it."""
    board = EmulatedBoard.create(tmp_path / "board", tensorrt="10.3.0", time_scale=0.01)
    path = small_net(tmp_path / "m.onnx")
    with board.serve() as server:
        device = over_ssh(server, limits={"reconnect_s": 300.0, "backoff_s": 2.0})
        device.measure({"m": path})
    slept: list[float] = []
    device.clock = Clock(lambda: sum(slept), slept.append)
    for least, most in ((300.0, 330.0), (0.0, 7.0)):
        slept.clear()
        with pytest.raises(faults.Unreachable, match="Connection refused"):
            device.measure({"m": path})
        assert least <= sum(slept) <= most and max(slept) <= LONGEST_PAUSE_S, slept
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
