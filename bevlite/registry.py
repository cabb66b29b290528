"""The kinds of interchangeable parts, and how their files are found.

A part is one file that holds its typed config, its class and its registration::

    @BACKBONES.register
    class ResNetConfig(BackboneConfig):
        type: Literal["resnet"] = "resnet"
        depth: Literal[18, 34, 50]

        def build(self) -> Backbone: ...

A registry imports every file of its folder when a configuration first needs it, so to add a part is to add a
file. A part of another package is found through an entry point of the group `bevlite.parts` that names its module::

    [project.entry-points."bevlite.parts"]
    tiny_cnn = "my_package.tiny_cnn"

In a pydantic model, `Annotated[BackboneConfig, BACKBONES]` is the union of all registered configs, told apart by
`type:`. What registers later (a notebook, a test) is known from then on: the models that hold such a union are
built anew (`when_changed`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from bevlite.errors import ConfigError

T = TypeVar("T")
P = TypeVar("P", bound=type[BaseModel])
ENTRY_POINTS = "bevlite.parts"

_CHANGED: list[Callable[[], None]] = []


def when_changed(rebuild: Callable[[], None]) -> None:
    """Call `rebuild` whenever something registers after it could have been looked up."""
    _CHANGED.append(rebuild)


@lru_cache(maxsize=1)
def load_outside_parts() -> None:
    """Import what other packages registered as entry points.

    Raises:
        ConfigError: one of them cannot be imported.
    """
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # whatever a foreign module raises becomes one line that names it
            raise ConfigError(f"entry point '{entry.name}' of {ENTRY_POINTS} ({entry.value}): {error}") from error


class Shelf(Generic[T]):
    """Things of one kind by name, found by being files in a folder, by an entry point, or by registering."""

    def __init__(self, kind: str, package: str | None = None) -> None:
        """`package` is the folder that holds them; None for a kind that only others register."""
        self.kind = kind
        self._package = package
        self._members: dict[str, T] = {}
        self._looked_up = False

    def add(self, name: str, member: T) -> None:
        """Make a member known.

        Raises:
            ValueError: another one has its name.
        """
        if name in self._members and self._members[name] is not member:
            raise ValueError(f"two {self.kind} parts are called '{name}'")
        self._members[name] = member
        if self._looked_up:
            for rebuild in _CHANGED:
                rebuild()

    def remove(self, name: str) -> None:
        """Forget a member that was added from outside."""
        self._members.pop(name, None)
        for rebuild in _CHANGED:
            rebuild()

    @property
    def registered(self) -> tuple[T, ...]:
        """What has registered so far, without looking for more."""
        return tuple(self._members.values())

    @property
    def members(self) -> dict[str, T]:
        """All of this kind, by name, after importing the folder that holds them."""
        if self._package is not None:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        load_outside_parts()
        self._looked_up = True
        return dict(sorted(self._members.items()))


class Registry(Shelf[type[BaseModel]]):
    """All parts of one kind, by the `type:` under which a configuration names them."""

    def register(self, config: P) -> P:
        """Class decorator: make the part known by the default of its `type` field."""
        self.add(config.__pydantic_fields__["type"].default, config)
        return config

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(config) for name, config in self.members.items()}
        return core_schema.tagged_union_schema(choices, discriminator="type")


BACKBONES = Registry("backbone", "bevlite.models.backbones")
NECKS = Registry("neck", "bevlite.models.necks")
VIEW_TRANSFORMS = Registry("view transform", "bevlite.models.view_transforms")
PILLAR_ENCODERS = Registry("pillar encoder", "bevlite.models.lidar.pillars")
LIDAR_BACKBONES = Registry("LiDAR backbone", "bevlite.models.lidar.backbones")
LIDAR_NECKS = Registry("LiDAR neck", "bevlite.models.lidar.necks")
FUSIONS = Registry("fusion", "bevlite.models.fusion")
BEV_ENCODERS = Registry("BEV encoder", "bevlite.models.bev_encoders")
DETECTION_HEADS = Registry("detection head", "bevlite.models.heads.detection")
OCCUPANCY_HEADS = Registry("occupancy head", "bevlite.models.heads.occupancy")
MAP_HEADS = Registry("map segmentation head", "bevlite.models.heads.map_segmentation")

STREAM_PARTS = (
    BACKBONES, NECKS, VIEW_TRANSFORMS, PILLAR_ENCODERS, LIDAR_BACKBONES, LIDAR_NECKS, FUSIONS, BEV_ENCODERS,
)  # fmt: skip
"""Every kind of part but the heads, which belong to their tasks."""
