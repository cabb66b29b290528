"""A network cut into modules, each of which becomes one ONNX file and one engine. The one place that cuts.

Counting, export, operator check, the graphs of a scan and the sessions of ONNX Runtime all take the modules from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from bevlite.grid import BEVGrid
from bevlite.models.contracts import DType, TensorSpec, ViewTransform
from bevlite.models.streams import CameraModule, FusionHeads, LidarModule, parted
from bevlite.variant import ImageConfig, Variant

WHOLE = "network"
CAMERA_BEV, LIDAR_BEV = "camera_bev", "lidar_bev"
MAP_AXES = ("batch", "channel", "y", "x")
_TORCH: dict[DType, torch.dtype] = {"float32": torch.float32, "int32": torch.int32, "uint8": torch.uint8}


class Streams(Protocol):
    """What a network is made of (bevlite.models.detector.Detector)."""

    variant: Variant
    camera: CameraModule | None
    view_transform: ViewTransform | None
    lidar: LidarModule | None
    fusion_heads: FusionHeads


@dataclass(frozen=True)
class Module:
    """One module: what runs, in deployed form, its inputs, and the names of its outputs in order.

    `network` takes the inputs one by one, in their order, and gives a tuple of its outputs.
    """

    name: str
    network: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]

    @property
    def states(self) -> dict[str, str]:
        """Inputs that are fed by an output of the frame before, and by which."""
        return {spec.name: spec.fed_by for spec in self.inputs if spec.source == "state"}

    def example(self, device: str | None = None) -> dict[str, Tensor]:
        """Inputs of the deployed shapes, all zero."""
        return {s.name: torch.zeros(s.shape, dtype=_TORCH[s.dtype], device=device) for s in self.inputs}


class _Camera(nn.Module):
    """images (1, N, 3, H, W) uint8 to what the view transform takes."""

    def __init__(self, camera: CameraModule, view_transform: ViewTransform) -> None:
        super().__init__()
        self.camera, self.view_transform = camera, view_transform

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.view_transform.prepare(self.camera(images))


class _ViewTransform(nn.Module):
    """Prepared tensors, and what the host gives, to camera_bev and states."""

    def __init__(self, view_transform: ViewTransform, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.view_transform, self.names, self.outputs = view_transform, tuple(inputs), tuple(outputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        bev, more = parted(self.view_transform.transform(dict(zip(self.names, inputs, strict=True))))
        made = {CAMERA_BEV: bev, **more}
        return tuple(made[name] for name in self.outputs)


class _Lidar(nn.Module):
    """What the host makes of points to lidar_bev and states."""

    def __init__(self, lidar: LidarModule, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.lidar, self.names, self.outputs = lidar, tuple(inputs), tuple(outputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        bev, more = parted(self.lidar(dict(zip(self.names, inputs, strict=True))))
        made = {LIDAR_BEV: bev, **more}
        return tuple(made[name] for name in self.outputs)


class _FusionHeads(nn.Module):
    """BEV maps, and what the host gives the encoder, to the deployed raw maps and states, in a fixed order."""

    def __init__(self, heads: FusionHeads, maps: int, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.fusion_heads, self.maps, self.names, self.outputs = heads, maps, tuple(inputs), tuple(outputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        more = dict(zip(self.names, inputs[self.maps :], strict=True))
        raw = dict(parted(self.fusion_heads(inputs[: self.maps], more))[1])
        made = raw | self.fusion_heads.deployed(raw)
        return tuple(made[name] for name in self.outputs)


class _Whole(nn.Module):
    """All modules in a row, from the network's inputs to its outputs."""

    def __init__(self, modules: Sequence[Module], inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.modules_in_order, self.names, self.outputs = list(modules), tuple(inputs), tuple(outputs)
        self.parts = nn.ModuleList(module.network for module in modules)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        known = dict(zip(self.names, inputs, strict=True))
        for module, part in zip(self.modules_in_order, self.parts, strict=True):
            known |= dict(zip(module.outputs, part(*(known[spec.name] for spec in module.inputs)), strict=True))
        return tuple(known[name] for name in self.outputs)


def camera_module(camera: CameraModule, transform: ViewTransform, images: ImageConfig) -> Module:
    """Images to what crosses the border to the view transform."""
    shape = (1, images.cameras, 3, images.height, images.width)
    spec = TensorSpec("images", shape, "uint8", ("batch", "camera", "colour", "y", "x"), "images")
    return Module("camera", _Camera(camera, transform), (spec,), tuple(s.name for s in transform.prepared))


def view_transform_module(transform: ViewTransform) -> Module:
    """Prepared tensors, and what the host gives, to the camera's BEV map."""
    inputs = (*transform.prepared, *transform.host.inputs)
    outputs = _with_states((CAMERA_BEV,), inputs)
    network = _ViewTransform(transform, [spec.name for spec in inputs], outputs)
    return Module("view_transform", network, inputs, outputs)


def lidar_module(lidar: LidarModule) -> Module:
    """What the host makes of points to the LiDAR's BEV map."""
    inputs = lidar.pillars.host.inputs
    outputs = _with_states((LIDAR_BEV,), inputs)
    return Module("lidar", _Lidar(lidar, [spec.name for spec in inputs], outputs), inputs, outputs)


def fusion_heads_module(heads: FusionHeads, maps: Sequence[TensorSpec]) -> Module:
    """BEV maps, camera first, to the raw maps of all tasks."""
    more = heads.bev_encoder.host.inputs if hasattr(heads.bev_encoder, "host") else ()
    raw = tuple(raw.name for task in heads.tasks for raw in task.maps)
    outputs = _with_states(raw, more)
    network = _FusionHeads(heads, len(maps), [spec.name for spec in more], outputs)
    return Module("fusion_heads", network, (*maps, *more), outputs)


def bev_map(name: str, channels: int, bev: BEVGrid) -> TensorSpec:
    """A BEV map (1, C, ny, nx) at the border of two modules."""
    return TensorSpec(name, (1, channels, bev.ny, bev.nx), "float32", MAP_AXES, "features")


def modules_of(network: Streams) -> list[Module]:
    """The modules of a network in the order of execution."""
    variant = network.variant
    modules: list[Module] = []
    maps = []
    if network.camera is not None and network.view_transform is not None and variant.camera is not None:
        modules.append(camera_module(network.camera, network.view_transform, variant.camera.images))
        modules.append(view_transform_module(network.view_transform))
        maps.append(bev_map(CAMERA_BEV, network.view_transform.out_channels, variant.bev))
    if network.lidar is not None:
        modules.append(lidar_module(network.lidar))
        maps.append(bev_map(LIDAR_BEV, network.lidar.out_channels, variant.bev))
    modules.append(fusion_heads_module(network.fusion_heads, maps))
    return modules


def whole_module(network: Streams) -> Module:
    """All modules as one."""
    modules = modules_of(network)
    made = {name for module in modules for name in module.outputs}
    inputs = tuple({s.name: s for m in modules for s in m.inputs if s.name not in made or s.source == "state"}.values())
    outputs = _with_states(modules[-1].outputs, inputs)
    return Module(WHOLE, _Whole(modules, [spec.name for spec in inputs], outputs), inputs, outputs)


def feeds_of(modules: Sequence[Module]) -> dict[str, str]:
    """Inputs of a network that are fed by an output of the frame before, and by which."""
    return {name: output for module in modules for name, output in module.states.items()}


def _with_states(outputs: Sequence[str], inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    fed = [spec.fed_by for spec in inputs if spec.source == "state" and spec.fed_by not in outputs]
    return (*outputs, *dict.fromkeys(fed))


def used_parameters(module: Module, known: Mapping[str, Tensor]) -> set[str]:
    """Names of the parameters that have a say in a module's outputs (run on the given inputs, meta tensors do)."""
    from torch.overrides import TorchFunctionMode

    names = {id(value): name for name, value in module.network.named_parameters()}
    used: set[str] = set()

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            for value in (*args, *(kwargs or {}).values()):
                for one in value if isinstance(value, (list, tuple)) else (value,):
                    if id(one) in names:
                        used.add(names[id(one)])
            return func(*args, **(kwargs or {}))

    with Watch(), torch.no_grad():
        module.network(*known.values())
    return used
