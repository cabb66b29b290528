"""Variant: one network, complete, as one typed YAML file. The unit that is analysed, trained, searched, exported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.fields import FieldInfo

from bevlite import custom_imports
from bevlite.config import Config, apply_overrides, as_dict, read_yaml, stable_hash, validate
from bevlite.errors import ConfigError
from bevlite.grid import BEVGrid
from bevlite.registry import (
    BACKBONES,
    BEV_ENCODERS,
    FUSIONS,
    LIDAR_BACKBONES,
    LIDAR_NECKS,
    NECKS,
    PILLAR_ENCODERS,
    VIEW_TRANSFORMS,
    when_changed,
)
from bevlite.tasks.contract import TASKS, Task

MODULES = ("camera", "view_transform", "lidar", "fusion_heads")
"""The pieces of a network that become one ONNX file and one engine each, in the order of execution."""

# Any part of a kind: the registry narrows the type when the configuration is validated, and each part's own
# config class says what it accepts.
Part = Any


class ImageConfig(Config):
    """The network's camera input: `(B, cameras, 3, height, width)`, uint8 RGB."""

    height: int = Field(default=256, gt=0, multiple_of=32)
    width: int = Field(default=704, gt=0, multiple_of=32)
    cameras: int = Field(default=6, ge=1)


class CameraStream(Config):
    """Images to camera BEV features: backbone, neck and view transform."""

    model_config = ConfigDict(defer_build=True)

    images: ImageConfig = ImageConfig()
    backbone: Annotated[Part, BACKBONES]
    neck: Annotated[Part, NECKS]
    view_transform: Annotated[Part, VIEW_TRANSFORMS]


class LidarStream(Config):
    """Points to LiDAR BEV features: pillars, 2D backbone and neck."""

    model_config = ConfigDict(defer_build=True)

    sweeps: int = Field(default=10, ge=1, le=10, description="LiDAR sweeps accumulated, the keyframe included")
    pillars: Annotated[Part, PILLAR_ENCODERS]
    backbone: Annotated[Part, LIDAR_BACKBONES]
    neck: Annotated[Part, LIDAR_NECKS]


class Heads(Config):
    """What the network predicts: a head for each task, under the task's name. At least one.

    Its fields are the registered tasks (`_declare_heads`).
    """

    model_config = ConfigDict(defer_build=True)

    @model_serializer(mode="wrap")
    def _those_it_has(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the tasks it has no head for: which others are registered must not change what a variant says."""
        return {task: head for task, head in dump(self).items() if head is not None}

    def __getitem__(self, task: str) -> Any:
        return getattr(self, task)

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        """The tasks that have a head."""
        return (name for name in type(self).model_fields if self[name] is not None)

    def tasks(self, bev: BEVGrid) -> tuple[Task, ...]:
        """The tasks of a network with these heads."""
        return tuple(TASKS.members[name](self[name], bev) for name in self)


Precision = Literal["fp32", "fp16", "int8"]
EVERYTHING = "*"
Channels = Annotated[int, Field(ge=1, le=65536)]


class Compression(Config):
    """How the network is deployed, as text.

    widths: channels that a layer gives, by its path in the network, or `[out, in]`; of pruned networks.
    removed: blocks that are gone, by path (`camera.backbone.layers.2.blocks.4`): what they take passes on as it is.
    precision: what engines compute in, by pattern of module and layer paths (`camera`, `camera.backbone.*`, `*`). The
    pattern with the most letters that are no wildcard wins. One word is short for `{"*": word}`.
    """

    widths: dict[str, Channels | tuple[Channels, Channels]] = {}
    removed: tuple[str, ...] = ()
    precision: dict[str, Precision] = {EVERYTHING: "fp16"}

    @field_validator("precision", mode="before")
    @classmethod
    def _one_word(cls, given: Any) -> Any:
        return {EVERYTHING: given} if isinstance(given, str) else given

    @field_validator("removed")
    @classmethod
    def _once(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        """In one order, so that one network has one text."""
        for path in given:
            if not path or any(not part for part in path.split(".")):
                raise ValueError(f"found '{path}'; accepted: a path such as camera.backbone.layers.2.blocks.4")
        return tuple(sorted(set(given)))

    @model_serializer(mode="wrap")
    def _without_what_is_not_removed(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As before there was such a key, where nothing is removed: texts are compared."""
        return {key: value for key, value in dump(self).items() if key != "removed" or value}

    @model_validator(mode="after")
    def _says_enough(self) -> Compression:
        for pattern in self.precision:
            if not pattern or any(not part for part in pattern.split(".")):
                raise ValueError(f"precision: found pattern '{pattern}'; accepted: a path such as camera.backbone.*")
        return self

    def precision_of(self, path: str) -> Precision:
        """What a module (`camera`) or a layer (`camera.backbone.body.conv1`) computes in.

        A pattern holds for a path and for all that is below it.
        """
        found = [p for p in self.precision if fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*")]
        best = max(found, key=lambda p: (sum(c not in "*?[]" for c in p), p), default=None)
        return self.precision[best] if best is not None else "fp16"


class Variant(Config):
    """One network and its compression plan. `camera` or `lidar` is null in a network of one sensor.

    custom_imports: modules and files whose parts it is made of (bevlite/custom_imports.py), no part of its identity.
    """

    model_config = ConfigDict(defer_build=True)

    name: str = Field(default="unnamed", pattern=r"^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$")
    bev: BEVGrid = BEVGrid()
    camera: CameraStream | None = None
    lidar: LidarStream | None = None
    fusion: Annotated[Part, FUSIONS]
    bev_encoder: Annotated[Part, BEV_ENCODERS]
    heads: Heads
    compression: Compression = Compression()
    custom_imports: tuple[str, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_not_imported(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As before there was such a key, where nothing is imported: texts are compared."""
        return {key: value for key, value in dump(self).items() if key != custom_imports.KEY or value}

    @model_validator(mode="after")
    def _fits_together(self) -> Variant:
        if self.camera is None and self.lidar is None:
            raise ValueError("camera, lidar: found neither; accepted: at least one stream")
        if not self.tasks:
            names = " nor ".join(type(self.heads).model_fields)
            raise ValueError(f"heads: found neither {names}; accepted: at least one head")
        if self.camera is not None:
            stream, images = self.camera, self.camera.images
            stream.neck.check(stream.backbone.strides, images.height, images.width)
            stream.backbone.check(images.height, images.width)
            size = (images.height, images.width)
            stream.view_transform.check(stream.neck.out_stride, size, images.cameras, self.bev)
        if self.lidar is not None:
            self._check_lidar(self.lidar)
        for task in self.heads:
            self.heads[task].check(self.bev)
        self._check_precision()
        self._check_heads()
        self.fusion.check((self.camera is not None) + (self.lidar is not None))
        self.bev_encoder.check(self.bev)
        return self

    def _check_precision(self) -> None:
        for pattern in self.compression.precision:
            first = pattern.split(".")[0]
            if not any(fnmatchcase(module, first) for module in self.modules):
                raise ValueError(
                    f"compression.precision: found pattern '{pattern}', which no module of this variant begins with; "
                    f"accepted: {EVERYTHING}, {', '.join(self.modules)}, or layers below them"
                )

    def _check_heads(self) -> None:
        """Whether each head can be deployed in its precision."""
        for task in self.heads:
            path = f"fusion_heads.heads.{task}"

            def precision_of(layer: str, path: str = path) -> str:
                return self.compression.precision_of(f"{path}.{layer}" if layer else path)

            self.heads[task].check_precision(self.bev, precision_of)

    def _check_lidar(self, lidar: LidarStream) -> None:
        cell_m, strides = lidar.pillars.cell_m, lidar.backbone.cumulative_strides
        try:
            canvas = BEVGrid(x_range_m=self.bev.x_range_m, y_range_m=self.bev.y_range_m, cell_m=cell_m)
        except ValueError:
            raise ValueError(
                f"lidar.pillars.cell_m: found {cell_m} on x {list(self.bev.x_range_m)}, y {list(self.bev.y_range_m)}; "
                "accepted: a size that divides the BEV range"
            ) from None
        if canvas.nx % strides[-1] or canvas.ny % strides[-1]:
            raise ValueError(
                f"lidar.backbone: found total stride {strides[-1]} on a canvas of {canvas.ny} x {canvas.nx} pillars; "
                "accepted: a stride that divides the canvas"
            )
        stride = self.bev.cell_m / cell_m
        if not any(abs(stride - out) < 1e-6 for out in lidar.neck.possible_strides(strides)):
            accepted = ", ".join(f"{cell_m * out:g}" for out in lidar.neck.possible_strides(strides))
            raise ValueError(
                f"lidar.pillars.cell_m: found {cell_m}, which the neck cannot bring to bev.cell_m {self.bev.cell_m}; "
                f"accepted: a bev.cell_m of {accepted}"
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks it solves, by name."""
        return tuple(self.heads)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it is made of, in the order of execution."""
        streams = {"camera": self.camera, "view_transform": self.camera, "lidar": self.lidar}
        return tuple(name for name in MODULES if streams.get(name, self) is not None)

    @property
    def precision(self) -> str | dict[str, str]:
        """What the engines compute in: one word, or one for each module where they differ."""
        words = {module: self.compression.precision_of(module) for module in self.modules}
        return next(iter(words.values())) if len(set(words.values())) == 1 else dict(words)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The configurations of all its parts, in the order of execution."""
        streams = (self.camera, self.lidar)
        names = ("pillars", "backbone", "neck", "view_transform")
        found = [getattr(stream, name) for stream in streams if stream for name in names if hasattr(stream, name)]
        return (*found, self.fusion, self.bev_encoder, *(self.heads[task] for task in self.heads))

    def with_precision(self, precision: str) -> Variant:
        """The same network with all engines in one precision; itself for an empty word.

        Raises:
            ConfigError: it cannot be deployed in this precision.
        """
        if not precision:
            return self
        plan = self.compression.model_copy(update={"precision": {EVERYTHING: precision}})
        planned = self.model_copy(update={"compression": plan})
        try:
            planned._check_heads()
        except ValueError as error:
            raise ConfigError(f"{self.name}: {error}") from None
        return planned

    @property
    def network_hash(self) -> str:
        """Identity of the network, which weights belong to: architecture, widths of its layers, blocks removed."""
        return stable_hash(_identity(self, with_precision=False))

    @property
    def hash(self) -> str:
        """Identity of the network with its precision plan, which engines and latencies belong to."""
        return stable_hash(_identity(self, with_precision=True))


NOT_IDENTITY = ("name", "compression", custom_imports.KEY)
"""Keys that say nothing of the network itself; of the compression plan the identity names its parts."""


def _identity(variant: Variant, *, with_precision: bool) -> Mapping[str, Any]:
    """What makes a variant another one. Its name is no part of it, nor where its parts are found."""
    content = {key: value for key, value in as_dict(variant).items() if key not in NOT_IDENTITY}
    for part, said in _said_of(variant, content):
        # Without the keys that parts got later, where they say what was so before: such a network is the same one.
        for key, before in getattr(type(part), "added", {}).items():
            if said[key] == before:
                del said[key]
    content["widths"] = {path: list(w) if isinstance(w, tuple) else w for path, w in variant.compression.widths.items()}
    if variant.compression.removed:
        content["removed"] = sorted(variant.compression.removed)
    return content | ({"precision": _plan(variant)} if with_precision else {})


def _said_of(variant: Variant, content: Mapping[str, Any]) -> Iterator[tuple[Part, dict[str, Any]]]:
    """Every part with what the content says of it."""
    for owner, said in ((variant, content), *((getattr(variant, n), content[n]) for n in ("camera", "lidar", "heads"))):
        for name in said or ():
            if isinstance(said[name], dict):
                yield getattr(owner, name), said[name]


def _plan(variant: Variant) -> Mapping[str, str]:
    """The precision plan as one text for all plans that say the same of whole modules."""
    given = variant.compression.precision
    if not set(given) <= {EVERYTHING, *MODULES}:
        return given  # how patterns of layers overrule each other depends on all of them
    words = variant.precision
    return {EVERYTHING: words} if isinstance(words, str) else words


def _declare_heads() -> None:
    """Give `Heads` a field for every task, and build anew what holds unions of registered parts."""
    known: dict[str, FieldInfo] = Heads.__pydantic_fields__
    for name in [name for name in known if name not in TASKS.members]:
        del known[name]
    for name, task in TASKS.members.items():
        if name not in known:
            annotation: Any = Annotated[Part, task.heads] | None
            known[name] = FieldInfo.from_annotated_attribute(annotation, None)
    for model in (CameraStream, LidarStream, Heads, Variant):
        model.model_rebuild(force=True)


def changed(variant: Variant, overrides: Iterable[str]) -> Variant:
    """A variant with some keys set anew, `a.b=c` (raises ConfigError)."""
    settings = list(overrides)
    return variant_from(apply_overrides(as_dict(variant), settings), variant.name) if settings else variant


def variant_from(data: Mapping[str, Any], source: str, run: Path | None = None) -> Variant:
    """A variant from what a file says, after importing what it names.

    Args:
        data: what the file says.
        source: names the file in an error.
        run: the run folder that it was read from, if it was: nothing that lies in it is imported.

    Raises:
        ConfigError: with one line that names file, key, what was found and what is accepted.
    """
    return validate(custom_imports.with_imports(data, source, run), Variant, source)


def load_variant(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Variant:
    """Read a variant file; `overrides` are `a.b=c` settings.

    Raises:
        ConfigError: with one line that names file, key, what was found and what is accepted.
    """
    data = read_yaml(path)
    data.setdefault("name", os.path.splitext(os.path.basename(path))[0])
    return variant_from(apply_overrides(data, overrides), str(path))


# Last, and with the schemas of the models above put off until here: parts of other packages are imported now, and may
# want what this module defines.
_declare_heads()
when_changed(_declare_heads)
