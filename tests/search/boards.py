"""Searches that measure on emulated boards: networks of a second each, no training."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from bevlite.config import as_dict, to_yaml
from bevlite.devices.link.waiting import Clock
from bevlite.devices.settings import DeviceFile
from bevlite.simulation.jetson.board import EmulatedBoard
from bevlite.simulation.jetson.server import RunningBoard
from bevlite.variant import Variant
from search.config import ResolvedSearch, load_search
from search.latency.boards import BoardLatency
from tests.devices.boards import QUICK
from tests.search.fakes import FakeBackend
from tests.search.waiting import HANG_S
from tests.tiny import lidar_only

SPACE = {"fusion.channels": [16, 24, 32], "heads.detection.channels": [8, 16]}


@contextmanager
def served(folder: Path, name: str, **options: Any) -> Iterator[tuple[EmulatedBoard, RunningBoard]]:
    """An emulated board that answers over ssh."""
    if shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
        pytest.skip("needs the OpenSSH server (Debian: openssh-server); CI installs it")
    options = {"tensorrt": "10.3.0", "time_scale": 0.01} | options
    board = EmulatedBoard.create(folder / name, **options)
    with board.serve() as server:
        yield board, server


def add_device(folder: Path, name: str, server: RunningBoard, **changes: Any) -> None:
    """The device file of a served board, in the folder of device files."""
    settings: dict[str, Any] = {
        "type": "orin",
        "ssh": server.host_alias,
        "ssh_config": str(server.ssh_config),
        "sudo": "passwordless",
        "protocol": QUICK,
        "limits": {"backoff_s": 0.05, "reconnect_s": HANG_S},
    }
    for key, value in changes.items():
        settings[key] = settings[key] | value if isinstance(value, dict) else value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(to_yaml(DeviceFile.model_validate({"device": settings})))


def load(folder: Path, device: dict[str, Any], **changes: Any) -> ResolvedSearch:
    """A search over six LiDAR networks whose fusion and heads differ, and whose LiDAR module is one and the same."""
    tables = folder / "data" / "v1.0-mini"
    tables.mkdir(parents=True, exist_ok=True)
    for table in ("sample", "scene"):
        (tables / f"{table}.json").write_text("[]")
    search = {
        "base": as_dict(lidar_only()),
        "space": SPACE,
        "constraints": {"budget_ms": 60},
        "recipe": {"epochs": 1},
        "fidelity": {"rungs": [1]},
        "objectives": {"accuracy": {"nds": 1.0}},
        "device": device,
        "data": {"root": str(folder / "data")},
        "trials": 4,
        "startup_trials": 4,
        "seed": 3,
    }
    (folder / "search.yaml").write_text(yaml.safe_dump(search | changes, sort_keys=False))
    return load_search(folder / "search.yaml")


class BoardBackend(FakeBackend):
    """Accuracy by a formula, latency from boards."""

    def __init__(self, folder: Path, search: ResolvedSearch, study: str = "study", clock: Clock | None = None) -> None:
        super().__init__(folder)
        kept = folder / study / "latency"
        self.boards = BoardLatency(search.device, search.config.device, search.data, kept, clock)

    def latency(self, variant: Variant) -> Any:
        self.log(f"latency {variant.hash}")
        return self.boards(variant)

    def whole(self, variant: Variant) -> Any:
        self.log(f"whole {variant.hash}")
        return self.boards.whole(variant)

    def parameters(self, variant: Variant) -> int:
        return variant.fusion.channels * 1000
