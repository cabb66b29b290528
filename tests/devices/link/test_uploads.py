"""Files travel before the board is taken: nobody waits for a board that waits for a transfer."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from pathlib import Path

import onnx
import pytest

from bevlite.devices import external_weights
from bevlite.devices.graph_file import GraphFile
from bevlite.devices.pool import BoardPool
from bevlite.devices.report.latency import LatencyReport
from bevlite.errors import BevliteError
from tests.devices.boards import over_ssh, small_net
from tests.devices.conftest import Served
from tests.waiting import until

_seeds = itertools.count(500)


def networks(folder: Path, *names: str) -> dict[str, Path]:
    """Networks that no test has built yet."""
    return {name: small_net(folder / f"{name}.onnx", next(_seeds)) for name in names}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def store(served: Served) -> Path:
    return served.server.root / "home/nvidia/.bevlite"


def spans(served: Served, since: float) -> list[tuple[float, float]]:
    """From when to when somebody had the board."""
    rows = [json.loads(line) for line in (store(served) / "leases.jsonl").read_text().splitlines()]
    times = [(row["event"], row["at"]) for row in rows if row["at"] >= since]
    assert [event for event, _ in times] == ["taken", "released"] * (len(times) // 2)
    return [(a[1], b[1]) for a, b in zip(times[::2], times[1::2], strict=True)]


def arrived(served: Served, since: float) -> list[float]:
    return [t for f in (store(served) / "uploads").iterdir() if (t := f.stat().st_mtime) >= since]


def during(times: list[float], held: list[tuple[float, float]]) -> list[float]:
    return [time for time in times for began, ended in held if began < time < ended]


def test_everything_is_there_before_the_board_is_taken(orin_board: Served, tmp_path: Path) -> None:
    since = time.time()
    modules = networks(tmp_path, "a", "b", "c")
    with over_ssh(orin_board.server) as device:
        device.measure(modules)
    (held,) = spans(orin_board, since)
    times = arrived(orin_board, since)
    assert len(times) >= 3 and max(times) <= held[0]


def test_what_vanishes_meanwhile_is_sent_again_without_the_lease(orin_board: Served, tmp_path: Path) -> None:
    since = time.time()
    modules = networks(tmp_path, "a", "b")
    lost = store(orin_board) / "uploads" / sha256(modules["b"])
    device = over_ssh(orin_board.server)

    def lose(text: str) -> None:
        if text == "a: result":
            lost.unlink()

    device._say = lose
    with device:
        report = device.measure(modules)
    assert [row.name for row in report.modules] == ["a", "b"] and lost.is_file()
    held = spans(orin_board, since)
    assert len(held) == 2 and during(arrived(orin_board, since), held) == []


def test_a_pool_sends_to_a_board_that_is_still_busy(orin_board: Served, tmp_path: Path) -> None:
    modules = networks(tmp_path, "a", "b")
    pool = BoardPool("pool", [over_ssh(orin_board.server, "one")])
    found: list[LatencyReport] = []
    worker = threading.Thread(target=lambda: found.append(pool.measure(modules)))
    uploads = [store(orin_board) / "uploads" / sha256(path) for path in modules.values()]
    leases = store(orin_board) / "leases.jsonl"

    def taken() -> int:
        return leases.read_text().count('"taken"') if leases.is_file() else 0

    with over_ssh(orin_board.server, "other") as other:
        before = taken()
        other.acquire(0.0)
        assert until(lambda: taken() > before)  # the board writes it down a moment after it has answered
        since = time.time()
        worker.start()
        there = until(lambda: all(file.is_file() for file in uploads))
        other.release()
        worker.join()
    pool.close()
    assert there, "not sent while another worker had the board"
    assert found[0].device == "one" and [row.name for row in found[0].modules] == ["a", "b"]
    assert max(file.stat().st_mtime for file in uploads) < min(
        row["at"]
        for row in map(json.loads, (store(orin_board) / "leases.jsonl").read_text().splitlines())
        if row["at"] > since and row["event"] == "taken"
    )


def test_a_file_whose_last_byte_came_before_the_board_fell_silent_is_taken(orin_board: Served, tmp_path: Path) -> None:
    modules = networks(tmp_path, "a")
    part = store(orin_board) / "uploads" / (sha256(modules["a"]) + ".part")
    part.write_bytes(modules["a"].read_bytes())
    with over_ssh(orin_board.server) as device:
        assert device.measure(modules).modules[0].name == "a"
    assert not part.exists()


def split(path: Path, seed: int) -> Path:
    """The small network with its weights in a file beside it."""
    model = onnx.load(small_net(path, seed))
    path.unlink()
    onnx.save(model, path, save_as_external_data=True, location=path.name + ".data", size_threshold=0)
    return path


def test_weights_in_other_files_travel_with_the_graph(orin_board: Served, tmp_path: Path) -> None:
    engines = []
    with over_ssh(orin_board.server) as device:
        for seed in (601, 602, 601):
            path = split(tmp_path / "m.onnx", seed)
            measured = device.measure({"m": path}).modules[0].measured
            assert measured is not None and measured.engine is not None
            engines.append(measured.engine)
            path.with_name("m.onnx.data").unlink()
    # The graph file is the same each time: what tells the engines apart is the weights.
    assert [engine.cached for engine in engines] == [False, False, True]
    assert engines[0].key == engines[2].key != engines[1].key


def test_weights_that_are_not_there_are_named_before_anything_is_sent(tmp_path: Path) -> None:
    path = split(tmp_path / "m.onnx", 1)
    whole = onnx.load(path)
    assert onnx.load_model_from_string(GraphFile.read(path).content).graph.initializer == whole.graph.initializer  # type: ignore[arg-type]
    path.with_name("m.onnx.data").write_bytes(b"short")
    with pytest.raises(BevliteError, match=r"m\.onnx: weights in other files: .*'w'") as caught:
        GraphFile.read(path)
    assert "\n" not in str(caught.value)


def test_more_weights_than_one_file_holds_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = split(tmp_path / "m.onnx", 1)
    monkeypatch.setattr(external_weights, "LIMIT", 1000)
    with pytest.raises(BevliteError, match="of weights or more; accepted: less in one module"):
        external_weights.with_weights(path)
