"""A board without space: said with its remedy, nothing half written, and all goes on once there is space again."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from bevlite.devices.link import faults
from tests.devices.boards import over_ssh, small_net
from tests.devices.conftest import Served
from tests.waiting import until

_seeds = itertools.count(700)


def net(tmp_path: Path) -> Path:
    """A network that no test has built yet."""
    return small_net(tmp_path / "m.onnx", next(_seeds))


def files_of(served: Served) -> set[Path]:
    """What lies in the agent's folder; its logs and caches apart."""
    folder = served.server.root / "home/nvidia/.bevlite"
    kept = ("leases.jsonl", "lease.guard", "lease.queue")
    return {f for f in folder.rglob("*") if f.is_file() and f.name not in kept and f.parent.name != "timing"}


@pytest.mark.parametrize("free", [0, 1000])
def test_an_upload_that_does_not_fit_leaves_nothing(orin_board: Served, tmp_path: Path, free: int) -> None:
    path = net(tmp_path)
    assert path.stat().st_size > 2000
    with over_ssh(orin_board.server) as device:
        device.tensorrt()
        before = files_of(orin_board)
        orin_board.board.faults.set("disk_full", of="uploads", free=free)
        with pytest.raises(faults.DiskFull, match=r"no space left on the board's disk; to mend it: df -h") as caught:
            device.measure({"m": path})
        assert "\n" not in str(caught.value)
        assert files_of(orin_board) == before
        orin_board.board.faults.clear()
        assert device.measure({"m": path}).modules[0].name == "m"  # the same connection


def test_a_result_that_cannot_be_kept_leaves_nothing(orin_board: Served, tmp_path: Path) -> None:
    path = net(tmp_path)
    orin_board.board.faults.set("disk_full", of="results", free=100)
    with over_ssh(orin_board.server) as device:
        with pytest.raises(faults.DiskFull, match="to mend it: df -h"):
            device.measure({"m": path})
        results = orin_board.server.root / "home/nvidia/.bevlite/results"
        assert list(results.iterdir()) == []
        orin_board.board.faults.clear()
        measured = device.measure({"m": path}).modules[0].measured
    assert measured is not None and measured.engine is not None and measured.engine.cached


def test_a_board_without_space_for_its_lease_is_left_free(orin_board: Served, tmp_path: Path) -> None:
    with over_ssh(orin_board.server) as device, over_ssh(orin_board.server) as other:
        device.tensorrt()
        orin_board.board.faults.set("disk_full")
        with pytest.raises(faults.DiskFull, match="to mend it: df -h"):
            device.acquire(0.0)
        folder = orin_board.server.root / "home/nvidia/.bevlite"
        assert [file.name for file in folder.glob("lease.*") if file.name not in ("lease.guard", "lease.queue")] == []
        orin_board.board.faults.clear()
        other.acquire(0.0)


def test_space_that_comes_back_lets_a_lease_be_kept(orin_board: Served) -> None:
    """A lease that cannot be renewed for a while is not given up (without a disk: tests/agent/test_lease.py)."""
    file = orin_board.server.root / "home/nvidia/.bevlite/lease.json"
    ttl_s = 9.0  # renewed every 3 s of the board's clock

    def expires() -> float:
        return float(json.loads(file.read_text())["expires"])

    def uptime() -> float:
        return float((orin_board.server.root / "proc/uptime").read_text().split()[0])

    with over_ssh(orin_board.server, limits={"lease_ttl_s": ttl_s}) as device, over_ssh(orin_board.server) as other:
        device.acquire(0.0)
        first = expires()
        orin_board.board.faults.set("disk_full")
        assert until(lambda: uptime() > first - ttl_s + ttl_s / 3 + 0.5)  # a renewal was due
        assert expires() == first
        orin_board.board.faults.clear()
        assert until(lambda: expires() > first)
        with pytest.raises(faults.LeaseHeld):
            other.acquire(0.0)
