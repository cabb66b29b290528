"""A sample of a data root as a picture, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import bevlite
from bevlite.data.config import DataConfig
from bevlite.errors import BevliteError


def test_the_truth_of_a_root_is_drawn_without_a_run(world: DataConfig, tmp_path: Path) -> None:
    out = bevlite.show(world.root, out=tmp_path / "sample.png")
    with Image.open(out) as picture:
        assert picture.width == 2000 and picture.height > 1000
    with pytest.raises(BevliteError, match="--sample: found 999; accepted: 0 to"):
        bevlite.show(world.root, out=tmp_path / "none.png", sample=999)
