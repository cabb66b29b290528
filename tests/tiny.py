"""Networks small enough for tests."""

from __future__ import annotations

from typing import Any

from bevlite.config import merge
from bevlite.testing.expect import live
from bevlite.testing.network import SMALL
from bevlite.training.recipe import Recipe
from bevlite.variant import Variant

__all__ = ["TINY", "WIDE", "lidar_only", "live", "short_recipe", "tiny"]

TINY: dict[str, Any] = SMALL

# A LiDAR stream with channels enough to cut, for `lidar_only(lidar=WIDE)`.
WIDE: dict[str, Any] = {"backbone": {"channels": [32, 64], "layers": [1, 1], "strides": [2, 2]}}


def tiny(**changes: Any) -> Variant:
    """The tiny variant; changes are merged by key as configuration files are."""
    return Variant.model_validate(merge(TINY, changes))


def lidar_only(**changes: Any) -> Variant:
    """LiDAR and detection alone: the cheapest network that can be trained and scored."""
    lidar = {"backbone": {"channels": [8, 16], "layers": [0, 0], "strides": [2, 2]}}
    base = {"camera": None, "lidar": lidar, "heads": {"occupancy": None}, "name": "tiny-lidar"}
    return tiny(**merge(base, changes))


def short_recipe(**changes: Any) -> Recipe:
    """Two epochs in this process, everything saved after each."""
    values = dict(epochs=2, batch_size=2, warmup_steps=2, workers=0, save_every_s=0, precision="fp32", ema_decay=0.9)
    return Recipe.model_validate(merge(values, changes))
