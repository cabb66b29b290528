"""Variant: one network, complete, as one typed YAML file. The unit that is analysed, trained, searched, exported."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bevlite.config import Config, apply_overrides, as_dict, read_yaml, stable_hash, validate
from bevlite.grid import BEVGrid
from bevlite.registry import (
    BACKBONES,
    BEV_ENCODERS,
    DETECTION_HEADS,
    FUSIONS,
    LIDAR_BACKBONES,
    LIDAR_NECKS,
    NECKS,
    OCCUPANCY_HEADS,
    PILLAR_ENCODERS,
    VIEW_TRANSFORMS,
)

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

    images: ImageConfig = ImageConfig()
    backbone: Annotated[Part, BACKBONES]
    neck: Annotated[Part, NECKS]
    view_transform: Annotated[Part, VIEW_TRANSFORMS]


class LidarStream(Config):
    """Points to LiDAR BEV features: pillars, 2D backbone and neck."""

    sweeps: int = Field(default=10, ge=1, le=10, description="LiDAR sweeps accumulated, the keyframe included")
    pillars: Annotated[Part, PILLAR_ENCODERS]
    backbone: Annotated[Part, LIDAR_BACKBONES]
    neck: Annotated[Part, LIDAR_NECKS]


class Heads(Config):
    """What the network predicts. At least one."""

    detection: Annotated[Part, DETECTION_HEADS] | None = None
    occupancy: Annotated[Part, OCCUPANCY_HEADS] | None = None


class Compression(Config):
    """How the network is deployed: the precision that its engines are built in."""

    precision: Literal["fp32", "fp16"] = "fp16"


class Variant(Config):
    """One network and its compression plan. `camera` or `lidar` is null in a network of one sensor."""

    name: str = Field(default="unnamed", pattern=r"^[A-Za-z0-9._-]+$")
    bev: BEVGrid = BEVGrid()
    camera: CameraStream | None = None
    lidar: LidarStream | None = None
    fusion: Annotated[Part, FUSIONS]
    bev_encoder: Annotated[Part, BEV_ENCODERS]
    heads: Heads
    compression: Compression = Compression()

    @model_validator(mode="after")
    def _fits_together(self) -> Variant:
        if self.camera is None and self.lidar is None:
            raise ValueError("camera, lidar: found neither; accepted: at least one stream")
        if self.heads.detection is None and self.heads.occupancy is None:
            raise ValueError("heads: found neither detection nor occupancy; accepted: at least one head")
        if self.camera is not None:
            self._check_camera(self.camera)
        if self.lidar is not None:
            self._check_lidar(self.lidar)
        if self.heads.occupancy is not None:
            self.heads.occupancy.check(self.bev)
        divisor = self.bev_encoder.total_stride
        if self.bev.ny % divisor or self.bev.nx % divisor:
            raise ValueError(
                f"bev_encoder: found total stride {divisor} on a BEV grid of {self.bev.ny} x {self.bev.nx} cells; "
                "accepted: a stride that divides the grid"
            )
        return self

    def _check_camera(self, camera: CameraStream) -> None:
        strides = camera.backbone.strides
        if camera.neck.out_stride not in strides:
            raise ValueError(
                f"camera.neck.out_stride: found {camera.neck.out_stride}; "
                f"accepted: {', '.join(map(str, strides))} (the strides of the backbone)"
            )

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
        """The tasks it solves: `detection`, `occupancy` or both."""
        return tuple(task for task in ("detection", "occupancy") if getattr(self.heads, task) is not None)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it is made of, in the order of execution."""
        streams = {"camera": self.camera, "view_transform": self.camera, "lidar": self.lidar}
        return tuple(name for name in MODULES if streams.get(name, self) is not None)

    @property
    def hash(self) -> str:
        """Identity of the network: its name is no part of it."""
        return stable_hash({key: value for key, value in as_dict(self).items() if key != "name"})


def load_variant(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Variant:
    """Read a variant file; `overrides` are `a.b=c` settings.

    Raises:
        ConfigError: with one line that names file, key, what was found and what is accepted.
    """
    data = read_yaml(path)
    data.setdefault("name", os.path.splitext(os.path.basename(path))[0])
    return validate(apply_overrides(data, overrides), Variant, str(path))
