"""Recipe: how a variant is trained, as one typed YAML file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from bevlite.config import Config, load_config
from bevlite.data.augment import Augmentation
from bevlite.data.teacher import LIDAR_MAP
from bevlite.registry import STREAM_PARTS
from bevlite.tasks.contract import TASKS

if TYPE_CHECKING:  # imports torch, and a recipe is read before that
    from bevlite.variant import Variant

Weight = Annotated[float, Field(ge=0)]
Learner = Literal["camera", "lidar", "fusion_heads"]
"""What of a network may learn alone: the camera with its view transform, the LiDAR, or what follows both."""
TEACHER = {LIDAR_MAP: 1.0}
"""What a teacher teaches, with its weight."""


def known_losses() -> dict[str, float]:
    """Every loss of a registered task or part, and of a teacher, with the weight that a recipe starts from."""
    weights = TASKS.weights()
    for kind in STREAM_PARTS:
        for part in kind.members.values():
            weights |= getattr(part, "auxiliary", {})
    for task in TASKS.members.values():
        for head in task.heads.members.values():
            weights |= getattr(head, "auxiliary", {})
    return weights | TEACHER


def losses_of(variant: Variant) -> dict[str, float]:
    """The losses of a variant's own tasks and parts, with the weight that a recipe starts from."""
    weights = {name: weight for task in variant.tasks for name, weight in TASKS.members[task].weights.items()}
    for part in variant.parts:
        weights |= part.auxiliary
    return weights


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
    losses: dict[str, Weight] = Field(default={}, description="weight of each loss that shall not keep its own")
    teacher: str | None = Field(
        default=None, description="a folder of another network's LiDAR BEV maps, <sample token>.npy, learnt as well"
    )
    only: tuple[Learner, ...] | None = Field(
        default=None, min_length=1, description="what learns; all else keeps weights and statistics. null: everything"
    )
    augmentation: Augmentation = Augmentation()
    class_balanced: bool = Field(default=False, description="draw samples of rare classes more often (CBGS)")
    clip_frames: int | None = Field(
        default=4, ge=2, le=1000, description="frames on end that a network with a past learns from; null: whole scenes"
    )
    workers: int | None = Field(default=None, ge=0, description="loader processes; null for one a core")
    save_every_s: float = Field(default=60.0, ge=0, description="most training time that a kill may cost, in s")
    seed: int = 0

    @field_validator("losses", mode="before")
    @classmethod
    def _known_losses(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        known = known_losses()
        for name in given:
            if name not in known:
                raise ValueError(f"{name}: unknown key; accepted: {', '.join(known)}")
        return given

    def of(self, variant: Variant) -> Recipe:
        """As it teaches a variant: with the weight of each of its losses, and of no other."""
        weights = {loss: self.losses.get(loss, weight) for loss, weight in losses_of(variant).items()}
        if self.teacher is not None:
            weights |= {loss: self.losses.get(loss, weight) for loss, weight in TEACHER.items()}
        return self.model_copy(update={"losses": weights})


def load_recipe(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file (raises ConfigError)."""
    return load_config(path, Recipe, overrides)
