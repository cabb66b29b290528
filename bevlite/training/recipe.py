"""Recipe: how a variant is trained, as one typed YAML file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from bevlite.config import Config, load_config
from bevlite.data.augment import Augmentation


class LossWeights(Config):
    """Weight of each term. Velocity counts `velocity` within `box` (CenterPoint's code weights)."""

    heatmap: float = Field(default=1.0, ge=0)
    box: float = Field(default=0.25, ge=0)
    velocity: float = Field(default=0.2, ge=0)
    occupancy: float = Field(default=1.0, ge=0)
    depth: float = Field(default=0.5, ge=0, description="LiDAR supervision of the depth distribution (BEVDepth)")


class Recipe(Config):
    """How a variant is trained."""

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=4, ge=1, description="samples a device and step")
    learning_rate: float = Field(default=1e-3, gt=0)
    camera_backbone_factor: float = Field(default=1.0, gt=0, description="learning rate of the camera backbone")
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    warmup_steps: int = Field(default=50, ge=0)
    final_factor: float = Field(default=1e-2, ge=0, le=1, description="last learning rate over the highest")
    clip_norm: float = Field(default=35.0, gt=0)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    losses: LossWeights = LossWeights()
    augmentation: Augmentation = Augmentation()
    class_balanced: bool = Field(default=False, description="draw samples of rare classes more often (CBGS)")
    workers: int | None = Field(default=None, ge=0, description="loader processes; null for one a core")
    save_every_s: float = Field(default=60.0, ge=0, description="most training time that a kill may cost, in s")
    seed: int = 0


def load_recipe(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file (raises ConfigError)."""
    return load_config(path, Recipe, overrides)
