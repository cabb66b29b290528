"""Cameras, LiDAR and a past: what the board prepares, its state, two frames in flight, calibrations that change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bevlite.data.config import DataConfig
from bevlite.devices.predicted import PredictedDevice
from bevlite.export.run import export_run
from bevlite.latency.device import find_device
from bevlite.packaging.package import package_run
from bevlite.simulation.jetson.board import EmulatedBoard
from tests.deploy.conftest import tiny_run
from tests.devices.conftest import require_sshd
from tests.packaging.conftest import Unpacked
from tests.tiny import tiny


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, world: DataConfig) -> Iterator[Unpacked]:
    """Packed for a predicted board, so that its engines have to be built by `check`."""
    require_sshd()
    folder = tmp_path_factory.mktemp("past")
    run = tiny_run(folder / "run", world, tiny(camera={"view_transform": {"temporal": True}}))
    export_run(run.path, "10.3")
    board = EmulatedBoard.create(folder / "orin", tensorrt="10.3.0", time_scale=0.0, numpy=True)
    package_run(run.path, PredictedDevice(find_device("agx-orin-64gb")), folder / "package")
    home = Path(shutil.copytree(folder / "package", board.root / "home/nvidia/package"))
    with board.serve() as server:
        yield Unpacked(board, server, run.path, home)


def test_sensors_to_raw_maps_as_on_the_host(past: Unpacked) -> None:
    """Golden outputs are ONNX Runtime's on inputs that torch's road prepared; the board starts from the sensors."""
    code, _, err = past.ssh("scripts/run")
    assert code == 1 and err == "run: tiny: its engines are not built on this board (./check builds them)\n"
    code, out, err = past.ssh("./check --no-timing")
    assert code == 3, out + err
    lines = out.splitlines()
    assert [line.split(":")[1].strip() for line in lines if "golden" in line] == ["boxes", "heatmap", "occupancy"]
    assert not [line for line in lines if line.startswith("NO")] and "camera: building its engine" in out


def test_two_in_flight_and_a_calibration_that_changes(past: Unpacked) -> None:
    shutil.copy(Path(__file__).with_name("two_in_flight.py"), past.package.parent / "two.py")
    code, out, err = past.ssh("python3 -I -B ../two.py")
    assert code == 0, err
    found = json.loads(out.splitlines()[-1])
    assert found["same"], "state goes from lane to lane as it goes from frame to frame"
    said = ["the calibration changed: its tables were made anew"]
    assert found["notes"] == found["two"] == [[], [], said, said]  # there, and back again
    assert found["differs"][2], "another calibration gives another map"
