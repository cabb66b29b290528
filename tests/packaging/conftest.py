from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bevlite.data.config import DataConfig
from bevlite.deploy.deploy import deploy
from bevlite.devices.report.deploy import Budgets
from bevlite.export.run import export_run
from bevlite.packaging.package import package_run
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.server import RunningBoard
from tests.deploy.conftest import tiny_run
from tests.devices.boards import over_ssh
from tests.devices.conftest import require_sshd


@dataclass(frozen=True)
class Unpacked:
    """A board with a package in its home, and the run that it is of."""

    board: EmulatedBoard
    server: RunningBoard
    run: Path
    package: Path
    """On the board."""

    def ssh(self, command: str) -> tuple[int, str, str]:
        """A command in the folder of the package: its exit code and what it wrote."""
        login = ["ssh", "-F", str(self.server.ssh_config), self.server.host_alias]
        words = [*login, f"cd {self.package.name} && {command}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, world: DataConfig) -> Path:
    """A tiny run, exported for TensorRT 10.3."""
    run = tiny_run(tmp_path_factory.mktemp("exported") / "run", world)
    export_run(run.path, "10.3")
    return run.path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, exported: Path) -> Iterator[Unpacked]:
    """The run deployed to an emulated board, packed with its engines, and copied there."""
    require_sshd()
    folder = tmp_path_factory.mktemp("packed")
    run = Path(shutil.copytree(exported, folder / "run"))
    board = EmulatedBoard.create(folder / "orin", tensorrt="10.3.0", time_scale=0.01, numpy=True)
    with board.serve() as server:
        with over_ssh(server) as device:
            deploy(run, device, Budgets(latency_ms=1000.0))
            package_run(run, device, folder / "package")
        home = board.root / "home/nvidia/package"
        shutil.copytree(folder / "package", home)
        yield Unpacked(board, server, run, home)


@pytest.fixture
def changed(unpacked: Unpacked) -> Iterator[Callable[[str, bytes | None], None]]:
    """Changes a file of the package on the board, or removes it, for the length of a test."""
    kept: dict[Path, bytes | None] = {}

    def change(name: str, content: bytes | None) -> None:
        path = unpacked.package / name
        kept.setdefault(path, path.read_bytes() if path.exists() else None)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    yield change
    for path, content in kept.items():
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
    unpacked.board.faults.clear()
