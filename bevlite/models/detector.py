"""Variant to network: the streams, their fusion and the heads."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bevlite.errors import ConfigError
from bevlite.models.auxiliary import AuxiliaryLoss, collected
from bevlite.models.blocks import remove_blocks
from bevlite.models.contracts import Host, Part, TensorSpec, ViewTransform
from bevlite.models.modules import CAMERA_BEV, LIDAR_BEV
from bevlite.models.streams import CameraModule, FusionHeads, LidarModule, build_camera, build_view_transform, parted
from bevlite.models.widths import apply_widths
from bevlite.tasks.contract import Task
from bevlite.variant import Variant

if TYPE_CHECKING:
    from bevlite.models.quantization.fake import AtPoints

STREAM_MODULES = {
    "camera": ("camera", "view_transform"),
    "lidar": ("lidar",),
    "heads": ("fusion_heads.bev_encoder", "fusion_heads.heads"),
}
"""Which parts of a network hold the weights of a stream, or of what follows the fusion."""
AUXILIARY = "auxiliary/"
"""What stands in front of the names of auxiliary results in training."""


class Detector(nn.Module):
    """The whole network of a variant.

    Its inputs are a mapping with, for a camera stream, `images` (B, N, 3, H, W) uint8, and what the hosts of its parts
    give a batch (`pixel_to_bev` (B, N, 4, 4), `pillars` (B, 5, M, P), ...); with a past also its states (B, ...).

    `quantization` is set in a network that runs as if in INT8 (`bevlite.models.quantization`).
    """

    camera: CameraModule | None
    view_transform: ViewTransform | None
    lidar: LidarModule | None

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant
        self.quantization: AtPoints | None = None
        self.camera = self.view_transform = self.lidar = None
        channels = []
        if variant.camera is not None:
            stream = variant.camera
            self.camera = build_camera(stream)
            self.view_transform = build_view_transform(
                stream.view_transform, stream.neck.channels, stream.neck.out_stride, stream.images, variant.bev
            )
            channels.append(self.view_transform.out_channels)
        if variant.lidar is not None:
            self.lidar = LidarModule(variant.lidar, variant.bev)
            channels.append(self.lidar.out_channels)
        self.fusion_heads = FusionHeads(variant.fusion, variant.bev_encoder, variant.heads, variant.bev, channels)
        self._check_names()
        if variant.compression.removed:
            remove_blocks(self, variant.compression.removed, Detector)
        if variant.compression.widths:
            apply_widths(self, variant.compression.widths, Detector)

    def _check_names(self) -> None:
        """Parts come from many packages: what two of them call the same would overwrite each other."""
        auxiliaries = [loss.name for loss in self.auxiliaries]
        losses = [*auxiliaries, *(name for task in self.tasks for name in task.weights)]
        maps = [raw.name for task in self.tasks for raw in task.maps]
        for kind, names in (("losses", losses), ("raw maps", maps)):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ConfigError(f"{self.variant.name}: found two {kind} called '{twice[0]}'; accepted: one each")
        declared = {name for part in self.variant.parts for name in part.auxiliary}
        for name in auxiliaries:
            if name not in declared:
                raise ConfigError(
                    f"{self.variant.name}: found auxiliary loss '{name}', which no configuration of its parts names; "
                    f"accepted: {', '.join(sorted(declared)) or 'none'} (PartConfig.auxiliary)"
                )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it is asked for."""
        return self.fusion_heads.tasks

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that may take more than the map before them, in the order of execution."""
        found = [self.view_transform, self.lidar.pillars if self.lidar else None, self.fusion_heads.bev_encoder]
        return tuple(part for part in found if isinstance(part, Part))

    @property
    def hosts(self) -> tuple[Host, ...]:
        """What its parts take from the host."""
        return tuple(part.host for part in self.parts)

    @property
    def states(self) -> tuple[TensorSpec, ...]:
        """What one frame takes from the one before."""
        return tuple(spec for host in self.hosts for spec in host.inputs if spec.source == "state")

    @property
    def auxiliaries(self) -> tuple[AuxiliaryLoss, ...]:
        """How auxiliary results are taught."""
        inside = (module for module in self.modules() if module is not self)
        return tuple(loss for module in inside for loss in getattr(module, "auxiliaries", ()))

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The raw maps as trained, and what the next frame takes; in training also auxiliary results."""
        with collected() as auxiliary, self.quantization or nullcontext():
            maps: list[Tensor] = []
            made: dict[str, Tensor] = {}
            if self.lidar is not None:  # first: it counts pillars, for which the CPU waits until the GPU is that far
                bev, more = parted(self.lidar(inputs))
                maps.append(bev)
                made |= {LIDAR_BEV: bev, **more}
            if self.camera is not None and self.view_transform is not None:
                features = self.camera(inputs["images"])
                bev, more = parted(self.view_transform(features, inputs))
                maps.insert(0, bev)
                made |= {CAMERA_BEV: bev, **more}
            outputs = dict(parted(self.fusion_heads(maps, inputs))[1])
        made |= outputs
        outputs |= {spec.fed_by: made[spec.fed_by] for spec in self.states}
        if self.training:
            outputs |= {AUXILIARY + name: value for name, value in auxiliary.items()}
        return outputs

    def stream_state(self, stream: str) -> dict[str, Tensor]:
        """The weights of one stream (`camera` or `lidar`), or of the encoder and `heads`, by name."""
        prefixes = tuple(f"{name}." for name in STREAM_MODULES[stream])
        return {key: value for key, value in self.state_dict().items() if key.startswith(prefixes)}
