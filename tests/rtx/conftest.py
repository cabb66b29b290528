from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from bevlite.rtx.installed import why_missing
from tests.latency.graphs import conv_relu

LOGS = Path(__file__).parent / "logs"
needs_compiler = pytest.mark.skipif(why_missing() is not None, reason=str(why_missing()))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(conv_relu(16, 32), path)
    return path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path / "packages", monkeypatch)


class StandIn:
    """A package `tensorrt_rtx` in place of NVIDIA's, whose builder does what a test wants."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / "tensorrt_rtx.py"
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    def does(self, body: str) -> None:
        """What happens when the compiler is started."""
        lines = "\n        ".join(body.splitlines())
        self._file.write_text(SOURCE.format(body=lines), encoding="utf-8")


SOURCE = """
import enum, os, signal, sys, time

__version__ = "1.9.0.1"


class Severity(enum.Enum):
    ERROR = 1
    VERBOSE = 4


class ILogger:
    pass


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ProfilingVerbosity(enum.Enum):
    DETAILED = 2


class ComputeCapability(enum.Enum):
    SM86 = 86


class Network:
    num_outputs = 1


class Config:
    num_compute_capabilities = 0

    def set_compute_capability(self, capability, index):
        pass


class OnnxParser:
    num_errors = 0

    def __init__(self, network, logger):
        pass

    def parse_from_file(self, file):
        return True


class Builder:
    def __init__(self, logger):
        self.logger = logger
        self.say = lambda text, severity=Severity.VERBOSE: logger.log(severity, text)

    def create_network(self, flags):
        return Network()

    def create_builder_config(self):
        return Config()

    def build_serialized_network(self, network, config):
        say = self.say
        {body}
        return b"plan"
"""
