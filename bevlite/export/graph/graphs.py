"""The graphs of a variant's modules, for latency: from shapes alone, and each made once for all variants that share it.

A module's key holds everything that its graph is made from, because the graph is made from nothing else: the builder
gets the named parts of the configuration and the channels of the maps before it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import onnx
import torch
from pydantic import BaseModel

from bevlite.config import write_atomic
from bevlite.export.graph.emit import emit
from bevlite.export.graph.quantized import Quantized
from bevlite.export.graph.shapes import NeedsValues, build, emit_shapes
from bevlite.latency.onnx.graph import strip_weights
from bevlite.models.detector import Detector
from bevlite.models.modules import (
    CAMERA_BEV,
    LIDAR_BEV,
    Module,
    bev_map,
    camera_module,
    fusion_heads_module,
    lidar_module,
    modules_of,
    view_transform_module,
)
from bevlite.models.quantization.placement import Placement, placement
from bevlite.models.quantization.plan import is_resolved
from bevlite.models.samples import outline
from bevlite.models.streams import FusionHeads, LidarModule, build_camera, build_view_transform
from bevlite.registry import when_changed
from bevlite.tensorrt import Form
from bevlite.variant import EVERYTHING, Compression, Variant

_PACKAGES = ("torch", "timm", "onnx", "onnxslim")
_CODE = ("models", "tasks", "export", "runtime")


@dataclass(frozen=True)
class ModuleGraph:
    """One module of a variant: its key, and how to make its graph. `given` is what it is made from."""

    name: str
    given: Mapping[str, Any]
    variant: Variant

    @cached_property
    def key(self) -> str:
        """Equal for two variants only if their graphs of this module are equal (16 hexadecimal digits)."""
        content = f"{self.name} {made_by(self.given)} {_text(self.given)}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def make(self, form: Form) -> onnx.ModelProto:
        """The module as ONNX, weights as type and shape alone.

        Raises:
            BevliteError: the variant cannot be exported.
        """
        precision_of = self.variant.compression.precision_of
        quantized = planned_int8(self.variant)
        try:
            return emit_shapes(build(self._build), form, precision_of, quantized)
        except NeedsValues:
            # A part whose graph follows from values (a weight that is read, say): the real export is slow and right.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                modules = modules_of(Detector(self.variant).eval())
            return strip_weights(emit(next(m for m in modules if m.name == self.name), form, precision_of, quantized))

    def _build(self) -> Module:
        if "widths" in self.given or "removed" in self.given:
            # Widths of one module follow from those of the modules before it, and blocks are found by running all of
            # them: the network is built as a whole.
            return next(m for m in modules_of(Detector(self.variant).eval()) if m.name == self.name)
        return _BUILDERS[self.name](self.given)


def planned_int8(variant: Variant) -> Quantized | None:
    """What a plan that speaks of layers puts in INT8, without scales; None for others, whose Q/DQ nobody placed."""
    if not is_resolved(variant):
        return None
    plain = variant.compression.model_copy(update={"precision": Compression().precision})
    places = _placement(variant.model_copy(update={"compression": plain}))
    return Quantized(places, places.quantized(variant.compression.precision_of))


def _placement(variant: Variant) -> Placement:
    if variant.network_hash not in _PLACEMENTS:
        if len(_PLACEMENTS) >= PLACEMENTS:
            _PLACEMENTS.clear()
        _PLACEMENTS[variant.network_hash] = placement(variant)
    return _PLACEMENTS[variant.network_hash]


def module_graphs(variant: Variant) -> Iterator[ModuleGraph]:
    """Every module of a variant in the order of execution. Nothing large is built."""
    channels: dict[str, int] = {}
    for name, given in _givens(variant, channels):
        yield ModuleGraph(name, given | _less(variant, name) | _plan(variant, name), variant)


def _less(variant: Variant, module: str) -> dict[str, Any]:
    """What is gone of a module: its blocks and widths. What comes in from others it has in `maps`, but for what crosses
    from the camera to the view transform, which follows from the widths of both."""
    plan = variant.compression
    parts = _STANDS_IN["camera" if module == "view_transform" else module]
    widths = {path: width for path, width in sorted(plan.widths.items()) if path.split(".")[0] in parts}
    gone = sorted(path for path in plan.removed if path.split(".")[0] in _STANDS_IN[module])
    return ({"widths": widths} if widths else {}) | ({"removed": gone} if gone else {})


def _plan(variant: Variant, module: str) -> dict[str, Any]:
    """What a precision plan says of a module: a plan that differs in another one leaves its graph as it is."""
    plan = variant.compression.precision
    if set(plan) == {EVERYTHING}:  # what no pattern names is FP16: one pattern is a mixed plan too
        return {}
    # A wildcard in the first name may reach over the dots behind it.
    first = {pattern: pattern.split(".")[0] for pattern in plan}
    own = {one: word for one, word in plan.items() if first[one] == module or set("*?[") & set(first[one])}
    return {"precision": dict(sorted(own.items())), "by_layer": is_resolved(variant)}


def _givens(variant: Variant, channels: dict[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What each module is made from, and nothing else; `channels` of the BEV maps are found on the way."""
    camera, bev = variant.camera, variant.bev
    if camera is not None:
        yield "camera", {"bev": bev, "camera": camera}
        border = {"channels": camera.neck.channels, "out_stride": camera.neck.out_stride}
        given = {"bev": bev, "images": camera.images, "neck": border, "view_transform": camera.view_transform}
        yield "view_transform", given
        channels[CAMERA_BEV] = _crossing(variant, CAMERA_BEV, "view_transform", given)
    if variant.lidar is not None:
        given = {"bev": bev, "lidar": variant.lidar}
        yield "lidar", given
        channels[LIDAR_BEV] = _crossing(variant, LIDAR_BEV, "lidar", given)
    given = {"bev": bev, "fusion": variant.fusion, "bev_encoder": variant.bev_encoder, "heads": variant.heads}
    yield "fusion_heads", given | {"maps": channels}


Given = Mapping[str, Any]


def _camera(given: Given) -> Module:
    stream = given["camera"]
    neck = stream.neck
    transform = build_view_transform(stream.view_transform, neck.channels, neck.out_stride, stream.images, given["bev"])
    return camera_module(build_camera(stream).eval(), transform.eval(), stream.images)


def _view_transform(given: Given) -> Module:
    neck = given["neck"]
    transform = build_view_transform(
        given["view_transform"], neck["channels"], neck["out_stride"], given["images"], given["bev"]
    )
    return view_transform_module(transform.eval())


def _lidar(given: Given) -> Module:
    return lidar_module(LidarModule(given["lidar"], given["bev"]).eval())


def _fusion_heads(given: Given) -> Module:
    bev, channels = given["bev"], given["maps"]
    heads = FusionHeads(given["fusion"], given["bev_encoder"], given["heads"], bev, list(channels.values()))
    return fusion_heads_module(heads.eval(), [bev_map(name, count, bev) for name, count in channels.items()])


_STANDS_IN = {
    "camera": ("camera", "view_transform"), "view_transform": ("view_transform",), "lidar": ("lidar",),
    "fusion_heads": ("fusion_heads",),
}  # fmt: skip
"""Where the layers of a module stand in the network: a view transform prepares what crosses to it."""

_BUILDERS: dict[str, Callable[[Given], Module]] = {
    "camera": _camera,
    "view_transform": _view_transform,
    "lidar": _lidar,
    "fusion_heads": _fusion_heads,
}

_CHANNELS: dict[str, int] = {}
when_changed(_CHANNELS.clear)
PLACEMENTS = 64
"""Networks whose products are remembered: a plan is predicted again and again with other layers in INT8."""
_PLACEMENTS: dict[str, Placement] = {}
when_changed(_PLACEMENTS.clear)


def _crossing(variant: Variant, bev: str, name: str, given: Given) -> int:
    """Channels of the BEV map that a module of a variant makes."""
    less = _less(variant, name)
    if "widths" not in less:
        return _channels(name, given)
    # Widths are found by running the whole network: its maps are remembered for all that have this module.
    known = variant.camera if name == "view_transform" else None
    key = f"{bev} {_text(given)} {_text(less)} {known.model_dump_json() if known is not None else ''}"
    if key not in _CHANNELS:
        heads = outline(variant).modules[-1]
        _CHANNELS[key] = next(spec.shape[1] for spec in heads.inputs if spec.name == bev)
    return _CHANNELS[key]


def _channels(name: str, given: Given) -> int:
    """Channels of the BEV map that a module makes as it was configured."""
    key = f"{name} {_text(given)}"
    if key not in _CHANNELS:
        network: Any = build(lambda: _BUILDERS[name](given)).network
        part = network.lidar if name == "lidar" else network.view_transform
        _CHANNELS[key] = int(part.out_channels)
    return _CHANNELS[key]


def _text(value: Any) -> str:
    """All that a value holds, as text. Mappings keep their order, which is that of a module's inputs."""
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_text(item)}" for name, item in value.items()) + "}"
    return json.dumps(value)


def made_by(value: Any) -> str:
    """Identity of the code that makes graphs of a variant, or of what a module is made from."""
    return f"{code_identity()} {_outside(value)}"


def _outside(value: Any) -> str:
    """Identity of the code of parts that other packages brought; empty where all are ours."""
    if isinstance(value, BaseModel):
        own = type(value).__module__
        mine = "" if own.split(".")[0] == "bevlite" else _source_identity(own)
        return mine + "".join(_outside(getattr(value, name)) for name in type(value).model_fields)
    return "".join(map(_outside, value.values())) if isinstance(value, Mapping) else ""


@lru_cache(maxsize=64)
def _source_identity(module: str) -> str:
    file = getattr(sys.modules[module], "__file__", None)
    content = Path(file).read_bytes() if file else b""  # a notebook's cell has no file: its name alone
    return hashlib.sha256(module.encode() + content).hexdigest()[:16]


when_changed(_source_identity.cache_clear)


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
    """Graphs by module and form, in memory and, with a folder, on disk."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, onnx.ModelProto] = {}

    def __call__(self, module: ModuleGraph, form: Form) -> onnx.ModelProto:
        """The graph of a module (raises BevliteError when its variant cannot be exported)."""
        name = f"{module.key}-{form.emission}-{form.opset}"
        if name not in self._known:
            self._known[name] = self._read(name) or self._keep(name, module.make(form))
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
