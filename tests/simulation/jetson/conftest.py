"""An emulated board without its server, and trtexec on it in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.folder import BoardFolder
from bevlite.simulation.jetson.trtexec.main import main
from tests.simulation.jetson import networks

VERSIONS = ("8.5.2", "8.6.2", "10.3.0", "10.16.2", "11.4.1")
needs_sshd = pytest.mark.skipif(
    shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:/usr/bin") is None, reason="needs an OpenSSH server"
)


@dataclass
class Answer:
    """What trtexec said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Bench:
    """A board with a working folder, and a network in it."""

    board: EmulatedBoard
    folder: Path
    run: Callable[..., Answer]

    @property
    def state(self) -> BoardFolder:
        return BoardFolder(self.board.folder)

    def lock_clocks(self) -> None:
        self.state.change(clocks_locked=True)

    def build(self, *flags: str) -> Answer:
        """Build `net.onnx` into `m.plan` with FP16 where the release has the flag."""
        half = [] if self.state.release.major >= 11 else ["--fp16"]
        skip = "--buildOnly" if self.state.release.number < 8600 else "--skipInference"
        return self.run("--onnx=net.onnx", "--saveEngine=m.plan", skip, *(flags or half))


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    """A board of the release that the test asks for (10.3.0); time passes at once."""
    version = getattr(request, "param", "10.3.0")
    board = EmulatedBoard.create(tmp_path / "board", tensorrt=version, seed=5, time_scale=0.0)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    networks.convolutional(folder / "net.onnx")

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main(BoardFolder(board.folder), list(arguments))
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return Bench(board, folder, run)


each_version = pytest.mark.parametrize("bench", VERSIONS, indirect=True)
