"""A network as ONNX modules: `camera`, `view_transform`, `lidar`, `fusion_heads`, or one file for all.

Two emissions from one network: *weak* (FP32, opset 17, or 16 for TensorRT 8.5) leaves the precision to builder
flags; *strong* (FP16 carried by the graph, opset 19) is for TensorRT 10 and later, strongly typed. Shapes are static,
operators stock, and the geometry an input.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import onnx
import torch
from onnxslim import slim
from torch import Tensor, nn

from bevlite.config import write_atomic
from bevlite.errors import ExportError
from bevlite.export.check.operators import version_key
from bevlite.export.graph.strong import to_half
from bevlite.models.contracts import ViewTransform
from bevlite.models.deployed import deployed_form
from bevlite.models.detector import CameraModule, Detector, FusionHeads, pillar_grid
from bevlite.variant import Variant

Emission = Literal["weak", "strong"]
EMISSIONS: tuple[Emission, ...] = ("weak", "strong")
OPSETS = {"weak": 17, "strong": 19}
OPSET_TENSORRT_8_5 = 16  # its parser knows no LayerNormalization
WHOLE = "network"


class Form(NamedTuple):
    """How modules are written: the precision that the graph carries, and its operators."""

    emission: Emission
    opset: int


def form_for(tensorrt: str, precision: str = "fp16") -> Form:
    """The form that a TensorRT version (`8.5.2`, `10.3`) builds engines of a precision from.

    Raises:
        ExportError: not a version, or older than 8.5.
    """
    key = version_key(tensorrt)
    if key == "8.5":
        return Form("weak", OPSET_TENSORRT_8_5)
    emission: Emission = "weak" if key.startswith("8.") or precision == "fp32" else "strong"
    return Form(emission, OPSETS[emission])


@dataclass(frozen=True)
class ModulePlan:
    """One module: what is traced, its inputs by name (tensors of the deployed shape), and the names of its outputs."""

    name: str
    network: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]


class _Camera(nn.Module):
    """images (1, N, 3, H, W) uint8 to what the view transform takes."""

    def __init__(self, camera: CameraModule, view_transform: ViewTransform) -> None:
        super().__init__()
        self.camera, self.view_transform = camera, view_transform

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.view_transform.prepare(self.camera(images))


class _ViewTransform(nn.Module):
    """Prepared tensors and geometry tables to camera_bev."""

    def __init__(self, view_transform: ViewTransform) -> None:
        super().__init__()
        self.view_transform = view_transform

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.view_transform.transform(*inputs)


class _FusionHeads(nn.Module):
    """BEV maps to raw maps, in a fixed order."""

    def __init__(self, fusion_heads: FusionHeads, outputs: Sequence[str]) -> None:
        super().__init__()
        self.fusion_heads, self.outputs = fusion_heads, tuple(outputs)

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        raw = self.fusion_heads(*maps)
        return tuple(raw[name] for name in self.outputs)


class _Whole(nn.Module):
    """All modules in a row, from the network's inputs to its raw maps."""

    def __init__(self, plans: Sequence[ModulePlan], inputs: Sequence[str]) -> None:
        super().__init__()
        self.plans, self.names = list(plans), tuple(inputs)
        self.parts = nn.ModuleList(plan.network for plan in plans)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        known = dict(zip(self.names, inputs, strict=True))
        result: tuple[Tensor, ...] = ()
        for plan, part in zip(self.plans, self.parts, strict=True):
            made = part(*(known[name] for name in plan.inputs))
            result = made if isinstance(made, tuple) else (made,)
            known |= dict(zip(plan.outputs, result, strict=True))
        return result


def output_names(variant: Variant) -> tuple[str, ...]:
    """Raw maps of a variant in the order of export."""
    detection = ("heatmap", "boxes") if variant.heads.detection is not None else ()
    return detection + (("occupancy",) if variant.heads.occupancy is not None else ())


def plan_modules(network: Detector) -> list[ModulePlan]:
    """The modules of a network in the order of execution, with example inputs of the deployed shapes."""
    variant = network.variant
    plans: list[ModulePlan] = []
    maps: dict[str, tuple[int, ...]] = {}
    if network.camera is not None and network.view_transform is not None:
        plans += [plan_camera(network), plan_view_transform(network)]
        maps["camera_bev"] = camera_bev_shape(variant)
    if network.lidar is not None:
        plans.append(plan_lidar(network))
        maps["lidar_bev"] = lidar_bev_shape(network)
    plans.append(plan_fusion_heads(network.fusion_heads, maps, output_names(variant)))
    return plans


def camera_bev_shape(variant: Variant) -> tuple[int, ...]:
    """Shape of the view transform's map (1, C, ny, nx)."""
    assert variant.camera is not None
    return 1, variant.camera.view_transform.channels, variant.bev.ny, variant.bev.nx


def lidar_bev_shape(network: Detector) -> tuple[int, ...]:
    """Shape of the LiDAR module's map (1, C, ny, nx)."""
    assert network.lidar is not None
    return 1, network.lidar.out_channels, network.variant.bev.ny, network.variant.bev.nx


def plan_camera(network: Detector) -> ModulePlan:
    """Images to what crosses the border to the view transform."""
    stream = network.variant.camera
    assert network.camera is not None and network.view_transform is not None and stream is not None
    images = stream.images
    example = torch.zeros(1, images.cameras, 3, images.height, images.width, dtype=torch.uint8)
    module = _Camera(network.camera, network.view_transform)
    return ModulePlan("camera", module, {"images": example}, network.view_transform.prepared_names)


def plan_view_transform(network: Detector) -> ModulePlan:
    """Prepared tensors and geometry tables to the camera's BEV map."""
    stream, transform = network.variant.camera, network.view_transform
    assert transform is not None and stream is not None
    images, stride = stream.images, stream.neck.out_stride
    features = torch.zeros(images.cameras, stream.neck.channels, images.height // stride, images.width // stride)
    with torch.no_grad():
        prepared = dict(zip(transform.prepared_names, transform.prepare(features), strict=True))
    tables = {name: torch.zeros(size, dtype=torch.int32) for name, size in transform.geometry_shapes.items()}
    return ModulePlan("view_transform", _ViewTransform(transform), prepared | tables, ("camera_bev",))


def plan_lidar(network: Detector) -> ModulePlan:
    """Pillars to the LiDAR's BEV map."""
    assert network.lidar is not None and network.variant.lidar is not None
    config, grid = network.variant.lidar.pillars, pillar_grid(network.variant)
    inputs = {
        "pillars": torch.zeros(1, 5, config.max_points, config.max_pillars),
        "pillar_index": torch.zeros(1, grid.ny, grid.nx, dtype=torch.int32),
    }
    return ModulePlan("lidar", network.lidar, inputs, ("lidar_bev",))


def plan_fusion_heads(
    fusion_heads: FusionHeads, maps: Mapping[str, tuple[int, ...]], outputs: tuple[str, ...]
) -> ModulePlan:
    """BEV maps of these shapes, camera first, to the raw maps of these names."""
    inputs = {name: torch.zeros(shape) for name, shape in maps.items()}
    return ModulePlan("fusion_heads", _FusionHeads(fusion_heads, outputs), inputs, outputs)


def whole_plan(network: Detector) -> ModulePlan:
    """All modules as one."""
    plans = plan_modules(network)
    made = {name for plan in plans for name in plan.outputs}
    inputs = {name: value for plan in plans for name, value in plan.inputs.items() if name not in made}
    return ModulePlan(WHOLE, _Whole(plans, tuple(inputs)), inputs, plans[-1].outputs)


def emit(plan: ModulePlan, emission: Emission = "weak", opset: int | None = None) -> onnx.ModelProto:
    """Trace one module to ONNX and simplify it (raises ExportError)."""
    buffer: Any = io.BytesIO()
    plan.network.eval()
    try:
        with torch.no_grad(), deployed_form(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The TorchScript exporter: the newer one writes scatter reductions that TensorRT 8 reads wrongly.
            torch.onnx.export(
                plan.network,
                tuple(plan.inputs.values()),
                buffer,
                input_names=list(plan.inputs),
                output_names=list(plan.outputs),
                opset_version=opset or OPSETS[emission],
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        first = str(error).strip().splitlines()[0]
        raise ExportError(f"module {plan.name}: cannot be exported ({first})") from None
    model: onnx.ModelProto = slim(onnx.load_model_from_string(buffer.getvalue()))
    if emission == "strong":
        model = to_half(model)
    onnx.checker.check_model(model)
    return model


def export_network(
    network: Detector,
    out_dir: Path,
    emission: Emission = "weak",
    *,
    single_file: bool = False,
    opset: int | None = None,
) -> dict[str, Path]:
    """Write every module of a network as `<module>.onnx` (one `network.onnx` with `single_file`).

    Returns:
        The files by module, in the order of execution.
    """
    plans = [whole_plan(network)] if single_file else plan_modules(network)
    files = {}
    for plan in plans:
        files[plan.name] = out_dir / f"{plan.name}.onnx"
        write_atomic(files[plan.name], emit(plan, emission, opset).SerializeToString())
    return files


def export_variant(
    variant: Variant, out_dir: Path, emission: Emission = "weak", seed: int = 0, *, opset: int | None = None
) -> dict[str, Path]:
    """Export a variant with random weights: what its latency depends on, without any training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Detector(variant).eval()
    return export_network(network, out_dir, emission, opset=opset)
