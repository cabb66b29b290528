"""What all tests share: a cache of their own, and one small generated world a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bevlite.data.config import DataConfig
from bevlite.data.index import Index, load_index


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden numbers change on purpose only."""
    parser.addoption("--write-golden", action="store_true", help="write golden numbers anew instead of comparing")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache is neither read nor written."""
    torch.set_num_threads(1)  # several test processes, each with a thread a core, would wait for each other
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEVLITE_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """A job in the background of a shell inherits that Ctrl-C is ignored; the commands under test must hear it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Two training scenes and one validation scene of three keyframes each, images at a quarter of the size."""
    from bevlite.simulation.world.generate import generate_world

    root = tmp_path_factory.mktemp("shared-world") / "data"
    generate_world(root, scenes=3, samples=3, sweeps=1, image_scale=0.25, workers=1, seed=0)
    return DataConfig(root=str(root)).resolved()


@pytest.fixture(scope="session")
def index(world: DataConfig) -> Index:
    """The index of the shared world."""
    return load_index(world)
