from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bevlite.config import to_yaml, write_atomic
from bevlite.data.config import DataConfig
from bevlite.devices.board_device import BoardDevice
from bevlite.devices.files import save
from bevlite.devices.settings import OrinSettings
from bevlite.export.run import export_run
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.variant import Variant
from tests.devices.boards import QUICK, over_ssh
from tests.devices.conftest import Served
from tests.tiny import lidar_only, live


def tiny_run(folder: Path, world: DataConfig, variant: Variant | None = None) -> Run:
    """A run, of the cheapest network by default, with weights as after training, and nothing exported."""
    run, variant = Run(folder), variant or lidar_only()
    write_atomic(run.path / "variant.yaml", to_yaml(variant))
    write_atomic(run.path / "data.yaml", to_yaml(world))
    torch.manual_seed(0)
    network = live(Detector(variant))
    with torch.no_grad():  # scores over the threshold: the official evaluation takes no submission without boxes
        for name, bias in network.named_parameters():
            if name.endswith("bias") and bool((bias < -2).all()):
                bias += 2
    run.checkpoints.mkdir()
    save_file(network.state_dict(), run.weights_file())
    write_atomic(run.weights_file().with_suffix(".json"), f'{{"network_hash": "{variant.network_hash}"}}')
    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, world: DataConfig) -> Path:
    """A tiny run, exported for TensorRT 10.3."""
    run = tiny_run(tmp_path_factory.mktemp("exported") / "run", world)
    export_run(run.path, "10.3")
    return run.path


@pytest.fixture
def run(tmp_path: Path, exported: Path) -> Run:
    """A copy of the exported run, with its times."""
    shutil.copytree(exported, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One emulated AGX Orin with TensorRT 10.3 for the tests of a file."""
    if shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        pytest.skip("needs the OpenSSH server (Debian: openssh-server); CI installs it")
    board = EmulatedBoard.create(tmp_path_factory.mktemp("board") / "orin", tensorrt="10.3.0", time_scale=0.01)
    with board.serve() as server:
        yield Served(board, server)


@pytest.fixture
def device(served: Served) -> Iterator[BoardDevice]:
    """The board over ssh, with every fault switched off before and after."""
    served.board.faults.clear()
    with over_ssh(served.server) as found:
        yield found
    served.board.faults.clear()


@pytest.fixture(autouse=True)
def no_user_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's device files are neither read nor written."""
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))


def add_device(served: Served, name: str) -> None:
    """A file for the board in the user's folder (of the test)."""
    server = served.server
    settings = OrinSettings.model_validate(
        {
            "type": "orin",
            "ssh": server.host_alias,
            "ssh_config": str(server.ssh_config),
            "sudo": "passwordless",
            "protocol": QUICK,
            "limits": {"backoff_s": 0.05},
        }
    )
    save(name, settings)
