"""What all tests share: a cache of their own, and one small generated world a process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bevlite.data.config import DataConfig
from bevlite.data.index import Index, load_index
from bevlite.simulation.jetson.board import EmulatedBoard
from tests.speeds import is_slow

SERVE = EmulatedBoard.serve


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden numbers change on purpose only."""
    parser.addoption("--write-golden", action="store_true", help="write golden numbers anew instead of comparing")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow by what it does (see tests/speeds.py)."""
    for item in items:
        if isinstance(item, pytest.Function):
            fixtures = [f.func for group in item._fixtureinfo.name2fixturedefs.values() for f in group]
            if is_slow([item.function, *fixtures]):
                item.add_marker("slow")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The user's cache is neither read nor written."""
    torch.set_num_threads(1)  # several test processes, each with a thread a core, would wait for each other
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEVLITE_CACHE", str(folder))
        yield folder


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A board served by a test that is not marked slow is a hole in tests/speeds.py: it fails, and says so."""
    fast = item.get_closest_marker("slow") is None
    EmulatedBoard.serve = _refuse_to_serve if fast else SERVE


def _refuse_to_serve(board: EmulatedBoard) -> None:
    pytest.fail("a test that serves a board has to be marked slow (see tests/speeds.py)")


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """A job in the background of a shell inherits that Ctrl-C is ignored; the commands under test must hear it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    """Two training scenes and one validation scene of three keyframes each, images at a quarter of the size.

    Of version 1 of the world: golden losses are kept of it.
    """
    from bevlite.simulation.world.generate import generate_world

    root = tmp_path_factory.mktemp("shared-world") / "data"
    generate_world(root, scenes=3, samples=3, sweeps=1, image_scale=0.25, workers=1, seed=0, world=1)
    return DataConfig(root=str(root)).resolved()


@pytest.fixture(scope="session")
def index(world: DataConfig) -> Index:
    """The index of the shared world."""
    return load_index(world)
