"""What the tests of compression share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bevlite.cli.main import main
from bevlite.data.config import DataConfig
from bevlite.models.detector import Detector
from bevlite.run_folder import Run
from bevlite.training.checkpoints import save_weights
from tests.tiny import WIDE, lidar_only, live, short_recipe


@pytest.fixture
def run(world: DataConfig, tmp_path: Path) -> Run:
    """A run folder with a trained stage of weights that are alive, not learnt."""
    made, variant = Run(tmp_path / "run"), lidar_only(lidar=WIDE)
    made.create(variant, world, short_recipe(epochs=4), 0)
    torch.manual_seed(0)
    save_weights(made, live(Detector(variant)).state_dict(), variant, {"epoch": 4})
    return made


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command in this process; gives what it said."""

    def call(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["bevlite", *map(str, arguments)])
        with pytest.raises(SystemExit) as found:
            sys.exit(main())
        assert (found.value.code or 0) == code
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return said.out + said.err

    return call
