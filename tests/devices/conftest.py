from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.server import RunningBoard


@dataclass(frozen=True)
class Served:
    """A board that answers over ssh, and the handle that disturbs it."""

    board: EmulatedBoard
    server: RunningBoard

    def reboot(self) -> None:
        """A reboot that is over."""
        self.board.reboot(stays_down=True)
        self.board.come_back()


def require_sshd() -> None:
    """Skip where a board cannot be served."""
    if shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        pytest.skip("needs the OpenSSH server (Debian: openssh-server); CI installs it")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One emulated AGX Orin with TensorRT 10.3 for the tests of a file."""
    require_sshd()
    board = EmulatedBoard.create(tmp_path_factory.mktemp("board") / "orin", tensorrt="10.3.0", time_scale=0.01)
    with board.serve() as server:
        yield Served(board, server)


@pytest.fixture
def orin_board(served: Served) -> Iterator[Served]:
    """The same, with every fault switched off before and after."""
    served.board.faults.clear()
    yield served
    served.board.faults.clear()


@pytest.fixture(autouse=True)
def no_user_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's device files are neither read nor written."""
    monkeypatch.setenv("BEVLITE_DEVICES", str(tmp_path / "devices"))
