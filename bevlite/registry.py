"""The kinds of interchangeable parts, and how their files are found.

A part is one file that holds its typed config, its class and its registration::

    @BACKBONES.register
    class ResNetConfig(BackboneConfig):
        type: Literal["resnet"] = "resnet"
        depth: Literal[18, 34, 50]

        def build(self) -> Backbone: ...

A registry imports every file of its folder when a configuration first needs it, so to add a part is to add a
file. In a pydantic model, `Annotated[BackboneConfig, BACKBONES]` is the union of all registered configs, told
apart by `type:`.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, TypeVar

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

P = TypeVar("P", bound=type[BaseModel])


class Registry:
    """All parts of one kind, by the `type:` under which a configuration names them."""

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._members: dict[str, type[BaseModel]] = {}

    def register(self, config: P) -> P:
        """Class decorator: make the part known by the default of its `type` field."""
        fields: dict[str, FieldInfo] = config.__pydantic_fields__
        name = fields["type"].default
        if name in self._members and self._members[name] is not config:
            raise ValueError(f"two {self.kind} parts are called '{name}'")
        self._members[name] = config
        return config

    @property
    def members(self) -> dict[str, type[BaseModel]]:
        """Every part of this kind, by name, after importing the folder that holds them."""
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        return dict(sorted(self._members.items()))

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
