"""The graphs of a variant's modules, for latency: from shapes alone, and each made once for all variants that share it.

A module's key holds everything that its graph is made from, because the graph is made from nothing else: the builder
gets the named parts of the configuration and the shapes of the inputs, and reading any other part is an error.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from pydantic import BaseModel
from torch import nn

from bevlite.config import write_atomic
from bevlite.errors import ExportError
from bevlite.export.graph.modules import (
    EMISSIONS,
    OPSETS,
    Emission,
    Form,
    ModulePlan,
    camera_bev_shape,
    emit,
    lidar_bev_shape,
    output_names,
    plan_camera,
    plan_fusion_heads,
    plan_lidar,
    plan_modules,
    plan_view_transform,
)
from bevlite.export.graph.shapes import NeedsValues, build, emit_shapes
from bevlite.latency.onnx.graph import strip_weights
from bevlite.models.detector import Detector, FusionHeads
from bevlite.variant import Variant

Shapes = dict[str, tuple[int, ...]]
_PACKAGES = ("torch", "timm", "onnx", "onnxslim")
_CODE = ("models", "export", "runtime")


class NotInKey(ExportError):
    """A module was built from something that its key does not hold."""


class _Given:
    """A part of a configuration that knows only what it was given: reading anything else is an error."""

    def __init__(self, where: str, **parts: Any) -> None:
        self.__dict__.update(parts, _where=where)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotInKey(f"{self._where}: the module reads '{name}', which its key does not hold")


class _Absent:
    """A part that the module under construction has nothing to do with: it builds to nothing."""

    channels = 0

    def build(self, *_: Any) -> nn.Module:
        module = nn.Module()
        module.feature_info, module.out_channels = [], 0  # type: ignore[assignment]
        return module


@dataclass(frozen=True)
class ModuleGraph:
    """One module of a variant: its key, and how to make its graph. `given` is what it is made from."""

    name: str
    given: Mapping[str, Any]
    variant: Variant

    @cached_property
    def key(self) -> str:
        """Equal for two variants only if their graphs of this module are equal (16 hexadecimal digits)."""
        content = f"{self.name} {code_identity()} {_text(self.given)}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def make(self, emission: Emission, opset: int | None = None) -> onnx.ModelProto:
        """The module as ONNX, weights as type and shape alone; `opset` is the emission's own by default.

        Raises:
            BevliteError: the variant cannot be exported.
        """
        try:
            return emit_shapes(build(lambda: _BUILDERS[self.name](self.given)), emission, opset)
        except NeedsValues:
            # A part whose graph follows from values (a weight that is read, say): the real export is slow and right.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                plans = plan_modules(Detector(self.variant).eval())
            return strip_weights(emit(next(plan for plan in plans if plan.name == self.name), emission, opset))


def module_graphs(variant: Variant) -> Iterator[ModuleGraph]:
    """Every module of a variant in the order of execution. Nothing large is built."""
    maps: Shapes = {}
    camera = variant.camera
    if camera is not None:
        yield ModuleGraph("camera", {"bev": variant.bev, "camera": camera}, variant)
        border = {"channels": camera.neck.channels, "out_stride": camera.neck.out_stride}
        given = {
            "bev": variant.bev,
            "images": camera.images,
            "neck": border,
            "view_transform": camera.view_transform,
        }
        yield ModuleGraph("view_transform", given, variant)
        maps["camera_bev"] = camera_bev_shape(variant)
    if variant.lidar is not None:
        given = {"bev": variant.bev, "lidar": variant.lidar}
        yield ModuleGraph("lidar", given, variant)
        maps["lidar_bev"] = _lidar_shape(_text(given), given)
    given = {
        "bev": variant.bev,
        "fusion": variant.fusion,
        "bev_encoder": variant.bev_encoder,
        "heads": variant.heads,
        "tasks": variant.tasks,
        "maps": maps,
    }
    yield ModuleGraph("fusion_heads", given, variant)


def _network(where: str, **parts: Any) -> Detector:
    """A detector of some streams, without what follows them."""
    nothing = {"fusion": _Absent(), "bev_encoder": _Absent(), "tasks": (), "camera": None, "lidar": None}
    return Detector(cast(Variant, _Given(where, **{**nothing, **parts}))).eval()


def _camera(given: Mapping[str, Any]) -> ModulePlan:
    return plan_camera(_network("camera", **given))


def _view_transform(given: Mapping[str, Any]) -> ModulePlan:
    neck = _Given("view_transform: neck", **given["neck"], build=_Absent().build)
    stream = _Given(
        "view_transform: camera",
        images=given["images"],
        backbone=_Absent(),
        neck=neck,
        view_transform=given["view_transform"],
    )
    return plan_view_transform(_network("view_transform", bev=given["bev"], camera=stream))


def _lidar(given: Mapping[str, Any]) -> ModulePlan:
    return plan_lidar(_network("lidar", **given))


def _fusion_heads(given: Mapping[str, Any]) -> ModulePlan:
    parts = {name: value for name, value in given.items() if name != "maps"}
    variant = cast(Variant, _Given("fusion_heads", **parts))
    maps: Shapes = given["maps"]
    module = FusionHeads(variant, [shape[1] for shape in maps.values()]).eval()
    return plan_fusion_heads(module, maps, output_names(variant))


_BUILDERS: dict[str, Callable[[Mapping[str, Any]], ModulePlan]] = {
    "camera": _camera,
    "view_transform": _view_transform,
    "lidar": _lidar,
    "fusion_heads": _fusion_heads,
}

_LIDAR_SHAPES: dict[str, tuple[int, ...]] = {}


def _lidar_shape(key: str, given: Mapping[str, Any]) -> tuple[int, ...]:
    if key not in _LIDAR_SHAPES:
        _LIDAR_SHAPES[key] = build(lambda: lidar_bev_shape(_network("lidar", **given)))
    return _LIDAR_SHAPES[key]


def _text(value: Any) -> str:
    """All that a value holds, as text. Mappings keep their order, which is that of a module's inputs."""
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_text(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


@lru_cache(maxsize=1)
def code_identity() -> str:
    """Identity of the code that makes graphs: a kept graph is of no use to another version of a part."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for file in sorted(file for folder in _CODE for file in (root / folder).rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + file.read_bytes())
    for package in _PACKAGES:
        digest.update(f"{package} {importlib.metadata.version(package)}".encode())
    return digest.hexdigest()[:16]


class GraphStore:
    """Graphs by module, emission and opset, in memory and, with a folder, on disk."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, onnx.ModelProto] = {}

    def __call__(self, module: ModuleGraph, emission: Emission, opset: int | None = None) -> onnx.ModelProto:
        """The graph of a module (raises BevliteError when its variant cannot be exported)."""
        assert emission in EMISSIONS
        form = Form(emission, opset or OPSETS[emission])
        name = f"{module.key}-{form.emission}-{form.opset}"
        if name not in self._known:
            self._known[name] = self._read(name) or self._keep(name, module.make(*form))
        return self._known[name]

    def _file(self, name: str) -> Path | None:
        return self._folder / f"{name}.onnx" if self._folder is not None else None

    def _read(self, name: str) -> onnx.ModelProto | None:
        file = self._file(name)
        if file is None or not os.path.isfile(file):
            return None
        try:
            return onnx.load_model_from_string(file.read_bytes())
        except Exception:  # a file that somebody spoilt is made anew
            return None

    def _keep(self, name: str, model: onnx.ModelProto) -> onnx.ModelProto:
        file = self._file(name)
        if file is not None:
            write_atomic(file, model.SerializeToString())
        return model
